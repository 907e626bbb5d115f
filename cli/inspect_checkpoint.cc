#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <set>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/io/checkpoint.h"

#include "cli/inspect.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;

/// Quantizers of a model with this configuration, in module order, as the original names them.
std::vector<std::string> quantizer_names(const io::BertConfig& config, const std::string& prefix) {
  static constexpr const char* kAttention[] = {
      "self.query._input_quantizer",      "self.query._weight_quantizer",
      "self.key._input_quantizer",        "self.key._weight_quantizer",
      "self.value._input_quantizer",      "self.value._weight_quantizer",
      "self.matmul_q_input_quantizer",    "self.matmul_k_input_quantizer",
      "self.matmul_v_input_quantizer",    "self.matmul_a_input_quantizer",
      "output.dense._input_quantizer",    "output.dense._weight_quantizer",
      "output.add_local_input_quantizer", "output.add_residual_input_quantizer"};
  static constexpr const char* kFeedForward[] = {
      "intermediate.dense._input_quantizer", "intermediate.dense._weight_quantizer",
      "output.dense._input_quantizer",       "output.dense._weight_quantizer",
      "output.add_local_input_quantizer",    "output.add_residual_input_quantizer"};
  std::vector<std::string> names;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::string path = fmt::format("{}encoder.layer.{}.", prefix, layer);
    for (const char* name : kAttention) names.push_back(path + "attention." + name);
    if (config.add_cross_attention)
      for (const char* name : kAttention) names.push_back(path + "crossattention." + name);
    for (const char* name : kFeedForward) names.push_back(path + name);
  }
  return names;
}

Json range_of(const TensorView* amax, const std::string& name) {
  if (!amax) return nullptr;
  const std::vector<float> values = to_float32(*amax);
  if (values.empty()) fail("[inspect] the range of {} is empty", name);
  if (values.size() == 1) return values.front();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return Json{{"min", *low}, {"max", *high}, {"channels", values.size()}};
}

Json weights_of(const io::Checkpoint& checkpoint) {
  int64_t parameters = 0, bytes = 0;
  std::map<std::string, int64_t> types;
  for (const io::NamedTensor& item : checkpoint.tensors()) {
    bytes += static_cast<int64_t>(item.tensor.data.size());
    if (item.name.ends_with("._amax")) continue;
    parameters += item.tensor.count();
    types[std::string(name_of(item.tensor.dtype))] += item.tensor.count();
  }
  Json weights = {{"file", checkpoint.file().filename().string()},
                  {"tensors", checkpoint.tensors().size()},
                  {"parameters", parameters},
                  {"bytes", bytes}};
  weights["types"] = types;
  return weights;
}

std::string range_text(const Json& amax) {
  if (amax.is_null()) return "dynamic";
  if (amax.is_number()) return fmt::format("{:.4f}", amax.get<double>());
  return fmt::format("[{:.4f}, {:.4f}]({})", amax.at("min").get<double>(), amax.at("max").get<double>(),
                     amax.at("channels").get<int64_t>());
}

std::string plain(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_number_float() ? fmt::format("{:g}", value.get<double>())
                                 : dump_json(value, {.indent = -1});
}

/// "128 samples of train.json": those of `parts`, "before KEY after", whose KEY the record has.
std::string sentence(const Json& record, std::initializer_list<std::array<const char*, 3>> parts) {
  std::string text;
  for (const auto& [before, key, after] : parts)
    if (record.contains(key) && !record[key].is_null()) text += before + plain(record[key]) + after;
  return text;
}

std::string training_sentence(const Json& training) {
  std::string text = sentence(training, {{"", "num_train_epochs", " epochs"},
                                         {" of batches of ", "per_device_train_batch_size", ""},
                                         {", learning rate ", "learning_rate", ""},
                                         {" ", "lr_scheduler_type", ""},
                                         {", seed ", "seed", ""}});
  if (training.contains("data")) text += sentence(training["data"], {{", ", "file", ""}});
  if (training.contains("distillation"))
    text += sentence(
        training["distillation"],
        {{", teacher ", "teacher", ""}, {" (share ", "alpha", ""}, {", temperature ", "temperature", ")"}});
  return text;
}

/// How the ranges and weights came about, of a quantization.json.
std::string history_of(const Json& record) {
  std::string text;
  const auto part = [&](const char* key) { return record.contains(key) ? record[key] : Json(); };
  if (const Json calibration = part("calibration"); calibration.is_object())
    text += "  calibrated   " +
            sentence(calibration, {{"", "method", ""},
                                   {" ", "percentile", ""},
                                   {", ", "samples", " samples"},
                                   {" of ", "data_file", ""}}) +
            "\n";
  if (const Json training = part("training"); training.is_object())
    text += "  trained      " + training_sentence(training) + "\n";
  if (const Json models = part("averaged"); models.is_array())
    for (const Json& model : models) {
      if (!model.is_object()) continue;
      const std::string how = training_sentence(model.value("training", Json()));
      text += fmt::format("  mean of      {}{}{}\n", plain(model.value("model", Json("?"))),
                          how.empty() ? "" : ": ", how);
    }
  if (const Json scores = part("scores"); scores.is_object())
    for (const auto& [name, metrics] : scores.items()) {
      text += fmt::format("  scores       {}:", name);
      for (const auto& [metric, value] : metrics.items())
        if (value.is_number()) text += fmt::format(" {} {},", metric, plain(value));
      text.back() = '\n';
    }
  if (record.contains("command_line")) text += "  made by      " + plain(record["command_line"]) + "\n";
  return text;
}

}  // namespace

Json inspect_checkpoint(const fs::path& directory) {
  const io::BertConfig config = io::read_config(directory / "config.json");
  const io::Checkpoint checkpoint = io::Checkpoint::open(directory);
  Json facts = {{"kind", "checkpoint"}, {"path", directory.string()}, {"config", io::to_json(config)}};
  facts["config"]["model_type"] = config.model_type;
  facts["weights"] = weights_of(checkpoint);
  const bool with_prefix =
      std::any_of(checkpoint.tensors().begin(), checkpoint.tensors().end(),
                  [](const io::NamedTensor& item) { return item.name.starts_with("bert."); });
  std::set<std::string> in_file;
  for (const io::NamedTensor& item : checkpoint.tensors())
    if (item.name.ends_with("._amax")) in_file.insert(item.name);
  Json quantizers = Json::array();
  int64_t ranges = 0;
  const auto add = [&](const std::string& name) {
    const std::string key = name + "._amax";
    in_file.erase(key);
    Json amax = range_of(checkpoint.find(key), name);
    ranges += amax.is_null() ? 0 : 1;
    quantizers.push_back({{"name", name}, {"amax", std::move(amax)}});
  };
  for (const std::string& name : quantizer_names(config, with_prefix ? "bert." : "")) add(name);
  // Whatever else has a range, in a model of another make.
  for (const std::string& key : std::set(in_file)) add(key.substr(0, key.size() - 6));
  facts["ranges"] = ranges;
  facts["quantizers"] = std::move(quantizers);
  if (fs::exists(directory / "quantization.json"))
    facts["quantization"] = read_json(directory / "quantization.json");
  return facts;
}

std::string describe_checkpoint(const Json& facts, bool all) {
  const Json& config = facts.at("config");
  const Json& weights = facts.at("weights");
  const auto whole = [&](const char* key) { return config.at(key).get<int64_t>(); };
  const std::string architectures = config.contains("architectures") && config["architectures"].is_array() &&
                                            !config["architectures"].empty()
                                        ? config["architectures"][0].get<std::string>()
                                        : "no class named";
  std::string text = fmt::format("{}: {} checkpoint, {}\n\n", facts.at("path").get<std::string>(),
                                 config.at("model_type").get<std::string>(), architectures);
  text += fmt::format(
      "  shape        {} layers, hidden {}, {} heads of {}, intermediate {} ({}), {} positions, {} tokens\n",
      whole("num_hidden_layers"), whole("hidden_size"), whole("num_attention_heads"),
      whole("hidden_size") / whole("num_attention_heads"), whole("intermediate_size"),
      config.at("hidden_act").get<std::string>(), whole("max_position_embeddings"), whole("vocab_size"));
  std::string types;
  for (const auto& [type, count] : weights.at("types").items())
    types += fmt::format("{}{}", types.empty() ? "" : " + ", type);
  text += fmt::format("  weights      {}: {} tensors, {:.1f} million parameters, {:.1f} MB, {}\n",
                      weights.at("file").get<std::string>(), weights.at("tensors").get<int64_t>(),
                      weights.at("parameters").get<double>() / 1e6, weights.at("bytes").get<double>() / 1e6,
                      types);
  const Json& quantizers = facts.at("quantizers");
  const int64_t ranges = facts.at("ranges");
  text += fmt::format("  quantizers   {}, {} with a range{}\n", quantizers.size(), ranges,
                      ranges == 0 ? ": not calibrated yet (qdqbert qa --do_calib)" : "");
  if (facts.contains("quantization")) {
    text += history_of(facts["quantization"]);
  }
  if (ranges == 0) return text;
  text += "\n";
  const size_t layers = std::max<size_t>(1, static_cast<size_t>(whole("num_hidden_layers")));
  const size_t shown = all ? quantizers.size() : std::min(quantizers.size(), quantizers.size() / layers);
  for (size_t i = 0; i < shown; ++i)
    text += fmt::format("  {:<76} amax={}\n", quantizers[i].at("name").get<std::string>(),
                        range_text(quantizers[i].at("amax")));
  if (shown < quantizers.size()) text += fmt::format("  ... {} more: --all\n", quantizers.size() - shown);
  return text;
}

}  // namespace qdqbert::cli
