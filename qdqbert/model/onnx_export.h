// From a model to an ONNX file with explicit Q/DQ pairs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "qdqbert/model/bert_model.h"
#include "qdqbert/onnx/bert_graph.h"
#include "qdqbert/onnx/lint.h"

namespace qdqbert::model {

struct OnnxExportOptions {
  int opset = 13;              ///< 13 to 17, or 19 in half precision
  bool int8_weights = false;   ///< INT8 weights behind DQ, in "<file>.data"
  bool trt_attention = false;  ///< see onnx::BertGraphOptions
  /// See onnx::BertGraphOptions for these three.
  onnx::GraphCache cache = onnx::GraphCache::kNone;
  bool hidden_states = false;
  bool pooler_output = false;
  /// More tensor bytes than this go to "<file>.data".
  size_t external_data_threshold = size_t{1} << 30;
};

struct OnnxExportReport {
  std::vector<std::filesystem::path> files;
  int64_t nodes = 0;
  onnx::LintReport lint;
  /// Whether libonnx knows the opset, so that its full check has passed.
  bool checked = false;
  /// Quantizers whose range is that of the sample batch, because they have none of their own.
  std::vector<std::string> ranges_from_sample;
};

/// The graph of the model in its present state: disabled quantizers leave no nodes. Quantizers without a
/// range get the one that `sample`, which lies where the model does, gives them (as the original bakes in the
/// dynamic range of its dummy batch; a warning says so). Throws InputError: a quantizer without a range and
/// no sample, one that is not 8 bit signed; UsageError: another opset.
onnx::Model to_onnx(PreTrainedModel& model, const OnnxExportOptions& options = {},
                    const ModelInputs* sample = nullptr, OnnxExportReport* report = nullptr);

/// to_onnx, then check, lint (an orphaned pair is an InputError) and write;
/// nothing is written when one of them fails.
OnnxExportReport export_onnx(PreTrainedModel& model, const std::filesystem::path& file,
                             const OnnxExportOptions& options = {}, const ModelInputs* sample = nullptr);

/// Gives every quantizer that quantizes and has no range the one that it finds in `sample`: for models with
/// random weights. Returns their names.
std::vector<std::string> set_ranges_from_sample(PreTrainedModel& model, const ModelInputs& sample);

/// Token ids drawn evenly from the vocabulary, two segments, nothing masked; [batch, length], for multiple
/// choice [batch, 2, length].
ModelInputs random_batch(const PreTrainedModel& model, int64_t batch, int64_t length, uint64_t seed);

}  // namespace qdqbert::model
