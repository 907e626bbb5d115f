#include "qdqbert/tasks/classification_metrics.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "qdqbert/base/error.h"

namespace qdqbert::tasks {

double ClassificationScore::f1_of(int64_t positive) const {
  const auto found = std::lower_bound(labels.begin(), labels.end(), positive);
  return found != labels.end() && *found == positive
             ? f1_per_label[static_cast<size_t>(found - labels.begin())]
             : 0;
}

ClassificationScore score_classification(std::span<const int64_t> references,
                                         std::span<const int64_t> predictions) {
  if (references.size() != predictions.size())
    fail("[metric] {} references, {} predictions", references.size(), predictions.size());
  if (references.empty()) fail("[metric] there is no label to score");
  struct Counts {
    double actual = 0, predicted = 0, correct = 0;
  };
  std::map<int64_t, Counts> by_label;
  double correct = 0;
  for (size_t i = 0; i < references.size(); ++i) {
    ++by_label[references[i]].actual;
    ++by_label[predictions[i]].predicted;
    if (references[i] != predictions[i]) continue;
    ++by_label[references[i]].correct;
    ++correct;
  }
  const auto total = static_cast<double>(references.size());
  ClassificationScore score;
  double both = 0, predicted_squared = 0, actual_squared = 0;
  for (const auto& [label, c] : by_label) {
    const double f1 = 2 * c.correct / (c.predicted + c.actual);
    score.labels.push_back(label);
    score.f1_per_label.push_back(f1);
    score.f1_macro += f1;
    score.f1_weighted += f1 * c.actual;
    both += c.predicted * c.actual;
    predicted_squared += c.predicted * c.predicted;
    actual_squared += c.actual * c.actual;
  }
  score.f1_macro /= static_cast<double>(by_label.size());
  score.f1_weighted /= total;
  score.accuracy = score.f1_micro = correct / total;
  // Correlation of the two one-hot matrices (R_K): covariance over the geometric mean of the variances.
  const double variances = (total * total - predicted_squared) * (total * total - actual_squared);
  score.matthews_correlation = variances > 0 ? (correct * total - both) / std::sqrt(variances) : 0;
  return score;
}

}  // namespace qdqbert::tasks
