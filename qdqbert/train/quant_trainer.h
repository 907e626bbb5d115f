// The quantization options of the original's example: what quantizers a model is built with, how they are
// switched and their ranges edited before training, evaluation and export.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "qdqbert/model/bert_model.h"

namespace qdqbert::train {

enum class CalibrationMethod { kMax, kPercentile, kMse, kEntropy };

std::string_view name_of(CalibrationMethod method);
/// Throws UsageError for a name that is not max, percentile, mse or entropy.
CalibrationMethod parse_calibration_method(std::string_view name);

struct QuantOptions {
  int64_t weight_bits = 8;
  int64_t activation_bits = 8;
  bool per_tensor = false;                          ///< weights with one range instead of one per row
  bool disable = false;                             ///< every quantizer
  bool disable_embeddings = false;                  ///< accepted; QDQBERT has no embedding quantizers
  std::vector<std::string> disable_keywords;        ///< regular expressions searched in module names
  std::optional<std::string> disable_layer_module;  ///< regular expression behind "layer.<n>."
  std::optional<std::string> enable_layer_module;   ///< likewise, runs last
  CalibrationMethod calibrator = CalibrationMethod::kMax;
  std::optional<double> percentile;  ///< needed by kPercentile
  bool fuse_qkv = false;
  std::optional<double> clip_gelu;  ///< 0 counts as not given
  bool recalibrate_weights = false;

  /// Throws UsageError: bits outside 2..16, percentile missing or outside [0, 100], a negative clip_gelu, an
  /// expression that is no regular expression.
  void validate() const;
};

/// Descriptors of new layers, as the flags ask.
nn::QuantDefaults quant_defaults(const QuantOptions& options);

/// Applies disables, enables and range editing in the original's order and logs what changes.
/// Throws UsageError for --fuse-qkv --quant-per-tensor on ranges that are per channel.
void configure_model(model::PreTrainedModel& model, const QuantOptions& options);

/// Ends of configure_model() that also apply right after calibration of
/// a fresh model; each logs what it does.
void fuse_qkv(model::PreTrainedModel& model, bool weights_too);
void clip_gelu(model::PreTrainedModel& model, double bound);
void recalibrate_weights(model::PreTrainedModel& model);

/// One line per quantizer and the count, as the original prints them.
std::string quantizer_summary(const model::PreTrainedModel& model);

/// Sentence about a flag that has no effect on these ranges (weights per channel
/// under --quant-per-tensor), or "".
std::string granularity_warning(const model::PreTrainedModel& model, const QuantOptions& options);

}  // namespace qdqbert::train
