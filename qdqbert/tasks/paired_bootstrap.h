// Whether two sets of answers to the same questions score differently by more than chance.
// Two correct implementations of one quantized model differ in some answers, so scores
// are compared together with their error.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/tasks/squad_dataset.h"

namespace qdqbert::tasks {

/// Share of positions with different texts, 0 to 1. Throws InputError for lists of
/// different length or without elements.
double share_of_differing_answers(std::span<const std::string> a, std::span<const std::string> b);

struct F1Difference {
  double f1_a = 0, f1_b = 0;  ///< percent, SQuAD v1.1
  double difference = 0;      ///< f1_b - f1_a
  double standard_error = 0;  ///< of the difference, percent
};

/// a[i] and b[i] answer examples[i]. The error is the standard deviation of the difference over
/// `resamples` sets of as many questions drawn with replacement, the same questions on both sides;
/// it depends on `seed` only. Throws InputError for lists of different length, no examples, an example
/// without answers, or fewer than 2 resamples.
F1Difference paired_bootstrap_f1(const std::vector<SquadExample>& examples, std::span<const std::string> a,
                                 std::span<const std::string> b, uint64_t seed = 0, int resamples = 1000);

}  // namespace qdqbert::tasks
