// qdqbert average: one model out of several trainings.
#include "qdqbert/io/average.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/log.h"
#include "qdqbert/io/range_json.h"
#include "qdqbert/text/tokenizer.h"

#include "cli/arguments.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;

constexpr JsonStyle kStyle{2, false, true, true};

/// Widths, tasks and labels, without what may differ between two trainings of one model.
Json comparable(const fs::path& model) {
  Json json = io::to_json(io::read_config(model / "config.json"));
  for (const char* key :
       {"torch_dtype", "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout",
        "transformers_version", "gradient_checkpointing", "_name_or_path"})
    json.erase(key);
  return json;
}

void require_same_model(const fs::path& first, const fs::path& other) {
  const Json a = comparable(first), b = comparable(other);
  const auto text = [](const Json& config, const std::string& key) {
    return config.contains(key) ? dump_json(config.at(key), {.indent = -1}) : std::string("absent");
  };
  for (const Json& side : {a, b})
    for (const auto& [key, value] : side.items())
      if (text(a, key) != text(b, key))
        fail("[average] {} and {} are not trainings of one model: {} is {} in the first, {} in the second",
             first.string(), other.string(), key, text(a, key), text(b, key));
}

/// quantization.json of a model; an empty object where there is none. Throws InputError for other JSON.
Json record_of(const fs::path& model) {
  const fs::path path = model / "quantization.json";
  if (!fs::exists(path)) return Json::object();
  Json record = read_json(path);
  if (!record.is_object()) fail("[average] {} holds no JSON object", path.string());
  return record;
}

/// That of the first model, with the ranges of the mean and the trainings of all.
Json described(const std::vector<std::string>& models, const std::vector<Json>& records,
               const std::vector<io::OwnedNamedTensor>& tensors) {
  Json json = records[0];
  for (const char* of_one : {"command_line", "training"}) json.erase(of_one);
  json["averaged"] = Json::array();
  for (size_t i = 0; i < models.size(); ++i)
    json["averaged"].push_back({{"model", fs::canonical(models[i]).filename().string()},
                                {"training", records[i].value("training", Json())}});
  json["scores"] = Json::object();
  for (Json& item : json["quantizers"]) {
    if (!item.is_object() || !item.contains("name") || !item["name"].is_string()) continue;
    const std::string name = item["name"].get<std::string>() + "._amax";
    const auto found = std::ranges::find(tensors, name, &io::OwnedNamedTensor::name);
    if (found == tensors.end()) continue;
    const std::vector<float> values = to_float32(found->tensor.view());
    if (!values.empty()) item["amax"] = io::range_json(values);
  }
  return json;
}

}  // namespace

int run_average(const Arguments& arguments) {
  std::vector<std::string> models;
  std::string output, save_dtype = "f32";
  ArgumentParser parser(
      "average", "--models A B [C ...] --output_dir D",
      "Writes the mean of the weights of several trainings that descend from one checkpoint. The mean is as fast as\n"
      "one of them and can score better than each, in float and quantized, above all when they differ in more than\n"
      "the seed: in their teachers, in how long they were trained before. Look at the score. Example:\n\n"
      "  qdqbert qa --model_name_or_path calibrated_a --do_train ... --teacher float_a --output_dir run_a\n"
      "  qdqbert qa --model_name_or_path calibrated_b --do_train ... --teacher float_b --output_dir run_b\n"
      "  qdqbert average --models run_a run_b --output_dir mean");
  parser.add("models", models, "directories of checkpoints with equal names and shapes of tensors");
  parser.add("output_dir", output, "directory for the mean, with configuration and tokenizer of the first");
  parser.add("save_dtype", save_dtype, "type of the saved weights: f32, f16 or bf16");
  parser.require("models");
  parser.require("output_dir");
  if (!parser.parse(arguments)) return 0;
  if (models.size() < 2) fail<UsageError>("[average] --models needs two directories at least");
  const io::SaveOptions options{io::parse_save_dtype(save_dtype)};

  std::vector<io::Checkpoint> checkpoints;
  std::vector<Json> records;
  for (const std::string& model : models) {
    if (fs::exists(output) && fs::exists(model) && fs::equivalent(model, output))
      fail<UsageError>("[average] --output_dir {} is one of the models; give another directory", output);
    checkpoints.push_back(io::Checkpoint::open(model));
    records.push_back(record_of(model));
  }
  const io::BertConfig config = io::read_config(fs::path(models[0]) / "config.json");
  for (const std::string& model : models) require_same_model(models[0], model);
  const std::vector<io::OwnedNamedTensor> tensors = io::average(checkpoints);
  std::vector<io::NamedTensor> views;
  int64_t differing = 0, parameters = 0;
  for (const io::OwnedNamedTensor& item : tensors) {
    views.push_back({item.name, item.tensor.view()});
    if (!item.name.ends_with("._amax")) {
      parameters += item.tensor.view().count();
      continue;
    }
    const std::vector<float> mean = to_float32(item.tensor.view());
    differing += std::ranges::any_of(checkpoints, [&](const io::Checkpoint& checkpoint) {
      return to_float32(checkpoint.at(item.name)) != mean;
    });
  }
  if (differing > 0) log_info("{} ranges differ between the models; the mean has their means", differing);
  io::save_checkpoint(output, views, config, options);
  text::Tokenizer::from_directory(models[0]).save(output);
  const fs::path facts = fs::path(output) / "quantization.json";
  if (records[0].empty()) {
    fs::remove(facts);  // of what was there before
  } else {
    write_file(facts, dump_json(described(models, records, tensors), kStyle));
  }
  fmt::print("Mean of {} models, {} numbers each, in {}\n", models.size(), parameters, output);
  return 0;
}

}  // namespace qdqbert::cli
