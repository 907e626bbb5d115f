// Which tensor of a checkpoint goes where in a model: the original's rules for old names and for the `bert.`
// prefix, and the report of what did not fit.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/io/tensor_set.h"

namespace qdqbert::io {

struct ExpectedTensor {
  std::string name;
  Shape shape;
};

/// What a model can take, under the model's own names.
struct ModelNames {
  std::string class_name;  ///< for messages, e.g. "QDQBertForQuestionAnswering"
  std::vector<ExpectedTensor> tensors;
  /// Paths of the quantizers, whose `<path>._amax` is loaded when the checkpoint has it, e.g.
  /// "bert.encoder.layer.0.attention.self.query._input_quantizer".
  std::vector<std::string> quantizers;
  /// Groups of names that share one tensor: a group is missing only when none
  /// of its names is in the checkpoint.
  std::vector<std::vector<std::string>> tied;
};

struct Match {
  std::string model_name;
  std::string checkpoint_name;  ///< as spelled in the file
  TensorView tensor;
};

struct Mismatch {
  std::string name;  ///< the checkpoint's, old spellings replaced
  Shape checkpoint_shape, model_shape;
};

/// Names are sorted and spelled as the original reports them: with the checkpoint's prefix convention.
struct LoadReport {
  std::vector<std::string> missing;
  std::vector<std::string> unexpected;
  std::vector<Mismatch> mismatched;
  /// Ranges that are loaded. The original calls them unexpected although it loads them, too.
  std::vector<std::string> ranges;
};

struct LoadPlan {
  std::vector<Match> matches;  ///< in checkpoint order; mismatched tensors are not among them
  LoadReport report;
};

/// "LayerNorm.gamma" becomes "LayerNorm.weight", "beta" becomes "bias"; other names are unchanged.
std::string modern_name(const std::string& name);

/// Matches `checkpoint` to `model`, wrappers around its names put aside (unwrapped_name()). `position_ids` buffers of old files are ignored. Throws InputError when a
/// shape differs (unless `ignore_mismatched_sizes`), when two tensors of the file get the same name, and for
/// a file without the `bert.` prefix that holds tensors of the head.
LoadPlan plan_load(std::span<const NamedTensor> checkpoint, const ModelNames& model,
                   bool ignore_mismatched_sizes = false);

/// Throws InputError when embeddings or layers would keep random values (is_encoder_tensor()): the checkpoint is of
/// another model, or its names are.
void require_encoder(const LoadReport& report, std::string_view class_name, std::string_view where);

/// The warnings that the original would give about the report, one string each, with counts, and at most ten
/// names a list.
/// `where` is the checkpoint's path or name.
std::vector<std::string> warnings(const LoadReport& report, std::string_view class_name,
                                  std::string_view where);

}  // namespace qdqbert::io
