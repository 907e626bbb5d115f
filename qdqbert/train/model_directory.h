// A quantized model as a Hugging Face directory, with quantization.json beside it.
#pragma once

#include <filesystem>

#include "qdqbert/base/json.h"
#include "qdqbert/io/checkpoint.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/text/tokenizer.h"
#include "qdqbert/train/quant_trainer.h"

namespace qdqbert::train {

/// How the ranges came about.
struct CalibrationRecord {
  QuantOptions options;
  std::filesystem::path data_file;
  bool shuffled = true;
  int64_t seed = 0, samples = 0, batch_size = 0, max_length = 0;
  Json features = Json::object();  ///< what else the features depended on
  std::string command_line;
};

/// What quantization.json holds: format, versions, calibration (method, data file with SHA-256,
/// samples, seed, command line), every quantizer with descriptor, calibrator and range,
/// and `scores`, which may be filled in later.
Json quantization_json(const model::PreTrainedModel& model, const CalibrationRecord& record);

/// The same after training: versions, quantizers as they are now, `training` (options, data,
/// results) and what `before`, the quantization.json that the run began with (null when
/// there was none), says about calibration.
Json trained_quantization_json(const model::PreTrainedModel& model, const Json& before, const Json& training,
                               const std::string& command_line);

/// Writes model.safetensors, config.json, the tokenizer's files and, unless it is null, quantization.json;
/// each file appears whole or not at all.
void save_quantized(const model::PreTrainedModel& model, const text::Tokenizer& tokenizer,
                    const Json& quantization, const std::filesystem::path& directory,
                    const io::SaveOptions& options);

/// Adds measured scores under `name` to the quantization.json of a directory, if it has one.
void add_scores(const std::filesystem::path& directory, const std::string& name, const Json& metrics);

}  // namespace qdqbert::train
