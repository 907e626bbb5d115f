#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "qdqbert/onnx/lint.h"
#include "qdqbert/onnx/reader.h"
#include "qdqbert/onnx/summary.h"

#include "cli/inspect.h"

namespace qdqbert::cli {

namespace {

std::string_view name_of(onnx::PairFate fate) {
  switch (fate) {
    case onnx::PairFate::kFused:
      return "fused";
    case onnx::PairFate::kNotFused:
      return "float";
    case onnx::PairFate::kOrphan:
      return "orphan";
  }
  return "";
}

Json scales_of(const std::vector<float>& scales) {
  if (scales.size() == 1) return scales.front();
  const auto [low, high] = std::minmax_element(scales.begin(), scales.end());
  return Json{{"min", *low}, {"max", *high}, {"channels", scales.size()}};
}

std::string scale_text(const Json& scale) {
  if (scale.is_number()) return fmt::format("{:.3e}", scale.get<double>());
  return fmt::format("[{:.3e}, {:.3e}]({})", scale.at("min").get<double>(), scale.at("max").get<double>(),
                     scale.at("channels").get<int64_t>());
}

}  // namespace

Json inspect_onnx(const std::filesystem::path& file) {
  const onnx::Model model = onnx::read_model(file);
  const onnx::GraphSummary summary = onnx::summarize(model);
  const onnx::LintReport lint = onnx::lint(model);
  Json facts = {{"kind", "onnx"}, {"path", file.string()}};
  facts["graph"] = {{"ir_version", summary.ir_version},
                    {"opset", summary.opset},
                    {"inputs", summary.inputs},
                    {"outputs", summary.outputs},
                    {"nodes", summary.nodes}};
  facts["graph"]["operators"] = summary.op_counts;
  facts["quantized"] = Json::array();
  for (const onnx::QuantizedTensor& pair : summary.quantized) {
    Json row = {{"name", pair.name},
                {"tensor", pair.tensor},
                {"constant", pair.is_constant},
                {"codes", qdqbert::name_of(pair.code_type)},
                {"scale", pair.scales.empty() ? Json() : scales_of(pair.scales)}};
    row["axis"] = pair.axis ? Json(*pair.axis) : Json();
    facts["quantized"].push_back(std::move(row));
  }
  facts["lint"] = Json::array();
  for (const onnx::PairReport& pair : lint.pairs)
    facts["lint"].push_back({{"name", pair.name},
                             {"fate", name_of(pair.fate)},
                             {"tensorrt", pair.tensorrt},
                             {"onnxruntime", pair.onnxruntime}});
  facts["refusals"] = {{"tensorrt", lint.tensorrt_refusals}, {"onnxruntime", lint.onnxruntime_refusals}};
  facts["lint_lines"] = lint.lines();
  return facts;
}

std::string describe_onnx(const Json& facts, bool all) {
  const Json& graph = facts.at("graph");
  const Json& pairs = facts.at("quantized");
  std::string text = fmt::format("{}: ONNX, opset {}, IR version {}\n\n", facts.at("path").get<std::string>(),
                                 graph.at("opset").get<int64_t>(), graph.at("ir_version").get<int64_t>());
  text +=
      fmt::format("  inputs       {}\n", fmt::join(graph.at("inputs").get<std::vector<std::string>>(), ", "));
  text += fmt::format("  outputs      {}\n",
                      fmt::join(graph.at("outputs").get<std::vector<std::string>>(), ", "));
  std::string operators;
  for (const auto& [name, count] : graph.at("operators").items())
    operators += fmt::format("{}{} {}", operators.empty() ? "" : ", ", count.get<int64_t>(), name);
  text += fmt::format("  nodes        {}: {}\n", graph.at("nodes").get<int64_t>(), operators);
  const auto constants = std::count_if(pairs.begin(), pairs.end(),
                                       [](const Json& pair) { return pair.at("constant").get<bool>(); });
  text += fmt::format("  Q/DQ pairs   {}, {} of them on weights\n", pairs.size(), constants);
  for (const Json& line : facts.at("lint_lines"))
    text += fmt::format("               {}\n", line.get<std::string>());
  if (!all || pairs.empty()) {
    if (!pairs.empty()) text += "               each of them: --all\n";
    return text;
  }
  text += "\n";
  for (const Json& pair : pairs)
    text += fmt::format("  {:<70} {} scale={}\n", pair.at("name").get<std::string>(),
                        pair.at("codes").get<std::string>(),
                        pair.at("scale").is_null() ? "computed" : scale_text(pair.at("scale")));
  return text;
}

}  // namespace qdqbert::cli
