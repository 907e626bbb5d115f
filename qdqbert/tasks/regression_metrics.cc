#include "qdqbert/tasks/regression_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "qdqbert/base/error.h"

namespace qdqbert::tasks {

namespace {

void check(std::span<const double> references, std::span<const double> predictions, size_t least) {
  if (references.size() != predictions.size())
    fail("[metric] {} references, {} predictions", references.size(), predictions.size());
  if (references.size() < least)
    fail("[metric] {} values given, at least {} needed", references.size(), least);
}

/// Deviations from the mean, divided by their norm; the largest magnitude is taken out first so that squares
/// neither overflow nor vanish.
std::vector<double> standardized(std::span<const double> values) {
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  std::vector<double> out(values.begin(), values.end());
  double largest = 0;
  for (double& v : out) {
    v -= mean;
    largest = std::max(largest, std::abs(v));
  }
  double squares = 0;
  for (const double v : out) squares += (v / largest) * (v / largest);
  const double norm = largest * std::sqrt(squares);
  for (double& v : out) v /= norm;
  return out;
}

bool is_constant(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [&](double v) { return v == values[0]; });
}

double correlation(std::span<const double> a, std::span<const double> b) {
  if (is_constant(a) || is_constant(b)) return std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> x = standardized(a), y = standardized(b);
  return std::clamp(std::inner_product(x.begin(), x.end(), y.begin(), 0.0), -1.0, 1.0);
}

}  // namespace

std::vector<double> average_ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = static_cast<double>(begin + 1 + end) / 2;
    begin = end;
  }
  return ranks;
}

double pearson_correlation(std::span<const double> references, std::span<const double> predictions) {
  check(references, predictions, 2);
  return correlation(references, predictions);
}

double spearman_correlation(std::span<const double> references, std::span<const double> predictions) {
  check(references, predictions, 1);
  return correlation(average_ranks(references), average_ranks(predictions));
}

double mean_squared_error(std::span<const double> references, std::span<const double> predictions) {
  check(references, predictions, 1);
  double sum = 0;
  for (size_t i = 0; i < references.size(); ++i)
    sum += (references[i] - predictions[i]) * (references[i] - predictions[i]);
  return sum / static_cast<double>(references.size());
}

}  // namespace qdqbert::tasks
