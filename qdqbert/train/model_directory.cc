#include "qdqbert/train/model_directory.h"

#include <torch/version.h>

#include "qdqbert/base/file.h"
#include "qdqbert/base/sha256.h"
#include "qdqbert/io/range_json.h"
#include "qdqbert/version.h"

namespace qdqbert::train {

namespace {

constexpr JsonStyle kStyle{2, false, true, true};

Json quantizer_json(const std::string& name, const nn::TensorQuantizer& quantizer) {
  Json json = {{"name", name}, {"num_bits", quantizer.num_bits()}};
  if (quantizer.axis()) json["axis"] = quantizer.axis()->dims;
  if (quantizer.is_unsigned()) json["unsigned"] = true;
  if (quantizer.narrow_range()) json["narrow_range"] = true;
  json["calibrator"] = quantizer.calibrator() ? Json(quantizer.calibrator()->class_name()) : Json();
  if (!quantizer.has_amax()) {
    json["amax"] = "dynamic";
  } else {
    const at::Tensor amax = quantizer.amax().to(at::kCPU, at::kFloat).contiguous();
    json["amax"] = io::range_json({amax.data_ptr<float>(), static_cast<size_t>(amax.numel())});
  }
  return json;
}

Json quantizers_json(const model::PreTrainedModel& model) {
  Json quantizers = Json::array();
  for (const model::NamedQuantizer& item : model.named_quantizers())
    quantizers.push_back(quantizer_json(item.name, *item.quantizer));
  return quantizers;
}

Json versions() {
  return {{"qdqbert", kVersion}, {"libtorch", TORCH_VERSION}};
}

}  // namespace

Json quantization_json(const model::PreTrainedModel& model, const CalibrationRecord& record) {
  Json calibration = {{"method", name_of(record.options.calibrator)}};
  if (record.options.calibrator == CalibrationMethod::kPercentile)
    calibration["percentile"] = *record.options.percentile;
  if (record.options.clip_gelu) calibration["clip_gelu"] = *record.options.clip_gelu;
  calibration["data_file"] = record.data_file.filename().string();
  calibration["data_sha256"] = sha256(read_file(record.data_file));
  calibration["samples"] = record.samples;
  calibration["batch_size"] = record.batch_size;
  calibration["order"] = record.shuffled ? "shuffled" : "file";
  calibration["seed"] = record.seed;
  calibration["max_seq_length"] = record.max_length;
  calibration.update(record.features);
  return {{"format", 1},
          {"versions", versions()},
          {"command_line", record.command_line},
          {"calibration", calibration},
          {"scores", Json::object()},
          {"quantizers", quantizers_json(model)}};
}

Json trained_quantization_json(const model::PreTrainedModel& model, const Json& before, const Json& training,
                               const std::string& command_line) {
  return {{"format", 1},
          {"versions", versions()},
          {"command_line", command_line},
          {"calibration",
           before.is_object() && before.contains("calibration") ? before.at("calibration") : Json()},
          {"training", training},
          {"scores", Json::object()},
          {"quantizers", quantizers_json(model)}};
}

void save_quantized(const model::PreTrainedModel& model, const text::Tokenizer& tokenizer,
                    const Json& quantization, const std::filesystem::path& directory,
                    const io::SaveOptions& options) {
  ensure_writable_directory(directory);
  tokenizer.save(directory);
  model::save_model(model, directory, options);
  if (!quantization.is_null()) write_file(directory / "quantization.json", dump_json(quantization, kStyle));
}

void add_scores(const std::filesystem::path& directory, const std::string& name, const Json& metrics) {
  const std::filesystem::path path = directory / "quantization.json";
  if (!std::filesystem::exists(path)) return;
  Json json = read_json(path);
  json["scores"][name] = metrics;
  write_file(path, dump_json(json, kStyle));
}

}  // namespace qdqbert::train
