// Scores of predicted numbers.
#pragma once

#include <span>
#include <vector>

namespace qdqbert::tasks {

/// Linear correlation; NaN when a side is constant. Throws InputError for lists of
/// different length or fewer than two elements.
double pearson_correlation(std::span<const double> references, std::span<const double> predictions);

/// Pearson correlation of the ranks; NaN when a side is constant or has a single element. Throws InputError
/// for lists of different length or without elements.
double spearman_correlation(std::span<const double> references, std::span<const double> predictions);

/// Throws InputError for lists of different length or without elements.
double mean_squared_error(std::span<const double> references, std::span<const double> predictions);

/// 1 for the smallest; equal values share the average of their ranks.
std::vector<double> average_ranks(std::span<const double> values);

}  // namespace qdqbert::tasks
