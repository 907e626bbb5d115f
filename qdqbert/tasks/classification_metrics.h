// Scores of single-label classification.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qdqbert::tasks {

struct ClassificationScore {
  double accuracy = 0;
  double matthews_correlation = 0;  ///< of any number of classes; 0 when either side is constant
  double f1_macro = 0, f1_micro = 0, f1_weighted = 0;
  std::vector<int64_t> labels;       ///< that occur on either side, ascending
  std::vector<double> f1_per_label;  ///< 0 where precision and recall are undefined

  /// F1 of `positive`; 0 when the label does not occur.
  double f1_of(int64_t positive) const;
};

/// Throws InputError for lists of different length or without elements.
ClassificationScore score_classification(std::span<const int64_t> references,
                                         std::span<const int64_t> predictions);

}  // namespace qdqbert::tasks
