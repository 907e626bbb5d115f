#include "qdqbert/train/evaluate.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <optional>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/nn/autocast.h"

namespace qdqbert::train {

model::ModelInputs batch_of(const tasks::SquadFeatures& features, std::span<const size_t> rows,
                            size_t width) {
  const auto make = [&] {
    return at::empty({static_cast<int64_t>(rows.size()), static_cast<int64_t>(width)}, at::kLong);
  };
  model::ModelInputs inputs;
  inputs.input_ids = make();
  inputs.attention_mask = make();
  inputs.token_type_ids = make();
  const auto row = [&](const at::Tensor& tensor, size_t r) {
    return std::span(tensor.data_ptr<int64_t>() + r * width, width);
  };
  for (size_t r = 0; r < rows.size(); ++r)
    features.fill(rows[r], row(inputs.input_ids, r), row(inputs.attention_mask, r),
                  row(inputs.token_type_ids, r));
  return inputs;
}

bool has_fixed_ranges(const model::PreTrainedModel& model) {
  for (const model::NamedQuantizer& item : model.named_quantizers())
    if (!item.quantizer->is_inert() && !item.quantizer->has_amax()) return false;
  return true;
}

bool has_ranges(const model::PreTrainedModel& model) {
  for (const model::NamedQuantizer& item : model.named_quantizers())
    if (!item.quantizer->is_inert() && item.quantizer->has_amax()) return true;
  return false;
}

void write_results(const std::filesystem::path& directory, const std::string& split, const Json& metrics) {
  constexpr JsonStyle kStyle{4, true, true, false};
  write_file(directory / (split + "_results.json"), dump_json(metrics, kStyle));
  const std::filesystem::path all = directory / "all_results.json";
  Json merged = std::filesystem::exists(all) ? read_json(all) : Json::object();
  if (!merged.is_object()) fail("[results] {} is not a JSON object", all.string());
  merged.update(metrics);
  write_file(all, dump_json(merged, kStyle));
}

namespace {

/// "0:00:06.91", hundredths cut off.
std::string runtime_text(double seconds) {
  const auto whole = static_cast<int64_t>(seconds);
  const auto hundredths = static_cast<int64_t>((seconds - static_cast<double>(whole)) * 100);
  return fmt::format("{}:{:02}:{:02}.{:02}", whole / 3600, whole / 60 % 60, whole % 60, hundredths);
}

/// Four decimals as Python's round() prints them: no trailing zeros but one.
std::string metric_text(const std::string& key, const Json& value) {
  if (!value.is_number_float()) return dump_json(value);
  if (key.find("_runtime") != std::string::npos) return runtime_text(value.get<double>());
  if (key == "total_flos") return fmt::format("{}GF", static_cast<int64_t>(value.get<double>()) >> 30);
  return dump_json(Json(std::stod(fmt::format("{:.4f}", value.get<double>()))));
}

}  // namespace

std::string metrics_block(const std::string& split, const Json& metrics) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (const auto& [key, value] : metrics.items()) lines.emplace_back(key, metric_text(key, value));
  std::sort(lines.begin(), lines.end());
  size_t keys = 0, values = 0;
  for (const auto& [key, value] : lines) {
    keys = std::max(keys, key.size());
    values = std::max(values, value.size());
  }
  std::string block = fmt::format("***** {} metrics *****\n", split);
  for (const auto& [key, value] : lines)
    block += fmt::format("  {:<{}} = {:>{}}\n", key, keys, value, values);
  return block;
}

}  // namespace qdqbert::train
