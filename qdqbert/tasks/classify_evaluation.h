// From the logits of a classifier to predictions, scores and files.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/json.h"
#include "qdqbert/tasks/classify_dataset.h"

namespace qdqbert::tasks {

struct ClassifyPrediction {
  std::vector<int64_t> labels;  ///< the best one; of kMultiLabel all with a logit above 0, ascending
  /// kSingleLabel: softmax; kMultiLabel: sigmoid; kRegression: the number itself.
  std::vector<double> scores;
};

/// `logits` are rows of `width` values (1 for kRegression). Equal logits: the smaller label. Throws
/// InputError for a logit that is NaN.
std::vector<ClassifyPrediction> classify_predictions(std::span<const float> logits, size_t width,
                                                     ClassifyKind kind);

/// kSingleLabel: accuracy, f1 (of label 1, with two labels), f1_macro, f1_micro, f1_weighted,
/// matthews_correlation. kMultiLabel: accuracy (all labels right), f1_micro, f1_macro. kRegression: mse,
/// pearson, spearmanr (null when a side is constant). Throws InputError for a label that `labels` lacks.
Json classify_metrics(const ClassifyData& data, const LabelMap& labels,
                      const std::vector<ClassifyPrediction>& predictions);

/// Label numbers of an example; throws InputError naming file and line for an unknown one.
std::vector<int64_t> label_ids(const ClassifyData& data, const ClassifyExample& example,
                               const LabelMap& labels);

/// Writes `<prefix>_results.txt` ("index\tprediction" as the public example script; several labels as a list)
/// and `<prefix>_predictions.jsonl` (texts, label, scores by label).
void write_classify_predictions(const std::filesystem::path& directory, const std::string& prefix,
                                const ClassifyData& data, const LabelMap& labels,
                                const std::vector<ClassifyPrediction>& predictions);

}  // namespace qdqbert::tasks
