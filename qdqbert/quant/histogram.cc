#include "qdqbert/quant/histogram.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/fake_quant.h"

namespace qdqbert::quant {

namespace {

/// NaN sorts after every number, as in numpy.
bool sorts_before(double a, double b) {
  return a < b || (b != b && a == a);
}

}  // namespace

float percentile_amax(const Histogram& histogram, double percentile) {
  if (percentile < 0 || percentile > 100)
    fail("[calibrator] percentile must be in [0, 100], got {}", percentile);
  const double total =
      static_cast<double>(std::accumulate(histogram.counts.begin(), histogram.counts.end(), int64_t{0}));
  const double target = percentile / 100;
  double share = 0;
  size_t index = 0;
  // Shares only grow, so the first that is not before the target is what a binary search finds.
  for (; index < histogram.counts.size(); ++index) {
    share += static_cast<double>(histogram.counts[index]) / total;
    if (!sorts_before(share, target)) break;
  }
  return static_cast<float>(histogram.edges.at(index));
}

float mse_amax(const Histogram& histogram, int num_bits, bool is_unsigned, int stride, int start_bin,
               bool only_positive) {
  if (stride < 1) fail("[calibrator] stride must be positive, got {}", stride);
  if (start_bin < 0) fail("[calibrator] start_bin must not be negative, got {}", start_bin);
  const size_t bins = histogram.counts.size();
  if (histogram.edges.size() != bins + 1)
    fail("[calibrator] a histogram of {} bins has {} edges", bins, histogram.edges.size());
  if (static_cast<size_t>(start_bin) >= bins)
    fail("[calibrator] mse starts at bin {}, the histogram has {} bins", start_bin, bins);

  std::vector<float> centers(bins), weights(bins), quantized(bins);
  for (size_t k = 0; k < bins; ++k) {
    centers[k] = (static_cast<float>(histogram.edges[k + 1]) + static_cast<float>(histogram.edges[k])) / 2;
    weights[k] = static_cast<float>(histogram.counts[k]);
  }
  const QuantParams params{num_bits, is_unsigned, true, Arithmetic::kToolkit};
  std::optional<size_t> best;
  double least = 0;
  for (size_t i = static_cast<size_t>(start_bin); i < bins; i += static_cast<size_t>(stride)) {
    // The bins around a single magnitude begin below zero, where no range can be.
    if (only_positive && centers[i] <= 0) continue;
    fake_quant(centers, AmaxView::per_tensor(centers[i], bins), params, quantized, 1);
    double sums[4] = {0, 0, 0, 0};
    for (size_t k = 0; k < bins; ++k) {
      const float error = quantized[k] - centers[k];
      sums[k % 4] += error * error * weights[k];
    }
    const double sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    // As in numpy's argmin the first NaN wins over every number.
    if (sum != sum) return centers[i];
    if (!best || sum < least) {
      least = sum;
      best = i;
    }
  }
  return centers[best.value_or(static_cast<size_t>(start_bin))];
}

}  // namespace qdqbert::quant
