#include "qdqbert/quant/numpy_histogram.h"

#include <algorithm>
#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/bin_counter.h"
#include "qdqbert/quant/magnitudes.h"

namespace qdqbert::quant {

namespace {

/// float32 edges of n equal bins; numpy interpolates in double and rounds once.
std::vector<double> equal_edges(double low, double high, int bins) {
  const double span = high - low, step = span / bins;
  std::vector<double> edges(static_cast<size_t>(bins) + 1);
  for (int k = 0; k < bins; ++k) {
    const double offset = step != 0 ? k * step : static_cast<double>(k) / bins * span;
    edges[static_cast<size_t>(k)] = static_cast<float>(offset + low);
  }
  edges.back() = static_cast<float>(high);
  return edges;
}

/// numpy estimates a bin in float32 and then looks at the two neighbouring edges once. That is exact unless
/// the bins are only a few float32 values wide.
class Estimate {
 public:
  Estimate(const std::vector<double>& edges, double low, double high, bool degenerate)
      : edges_(edges), bins_(static_cast<int64_t>(edges.size()) - 1), low_(static_cast<float>(low)) {
    // A range widened by 0.5 is a float64 in numpy, whose width is computed before it is rounded.
    width_ = degenerate ? static_cast<float>(high - low) : static_cast<float>(high) - low_;
  }

  int64_t raw(float x) const {
    const float position = (x - low_) / width_ * static_cast<float>(bins_);
    return std::min(static_cast<int64_t>(position), bins_ - 1);
  }

  int64_t bin(float x) const {
    int64_t k = raw(x);
    if (k > 0 && x < edges_[static_cast<size_t>(k)]) --k;
    if (k < bins_ - 1 && x >= edges_[static_cast<size_t>(k) + 1]) ++k;
    return k;
  }

  bool is_exact() const {
    for (int64_t k = 0; k < bins_; ++k) {
      const float first = static_cast<float>(edges_[static_cast<size_t>(k)]);
      const float end = static_cast<float>(edges_[static_cast<size_t>(k) + 1]);
      if (!(first < end)) return false;
      if (raw(first) < k - 1 || raw(std::nextafter(end, first)) > k + 1) return false;
    }
    return true;
  }

 private:
  const std::vector<double>& edges_;
  int64_t bins_;
  float low_, width_;
};

}  // namespace

FirstRange::FirstRange(const BatchExtremes& batch, bool skip_zeros) {
  const bool zeros = batch.saw_zero && !skip_zeros;
  const bool none = !zeros && batch.largest == 0;
  low = none || zeros ? 0 : batch.smallest_nonzero;
  high = none ? 1 : batch.largest;
  is_widened = low == high;
  if (is_widened) {
    low -= 0.5;
    high += 0.5;
  }
}

std::vector<double> numpy_edges(const FirstRange& range, int bins) {
  return equal_edges(range.low, range.high, bins);
}

void numpy_count(std::span<const float> x, const FirstRange& range, bool skip_zeros, Histogram& histogram) {
  const Estimate estimate(histogram.edges, range.low, range.high, range.is_widened);
  if (estimate.is_exact()) {
    BinCounter(histogram.edges).count(x, skip_zeros, histogram.counts);
    return;
  }
  for (const float value : x)
    if (!skip_zeros || value != 0) ++histogram.counts[static_cast<size_t>(estimate.bin(std::fabs(value)))];
}

Histogram numpy_histogram(std::span<const float> x, int bins, bool skip_zeros) {
  if (bins < 1) fail("[histogram] the number of bins must be positive, got {}", bins);
  const Magnitudes found = magnitudes(x);
  if (found.saw_nan) fail("[histogram] data hold NaN, so they have no range");
  if (!std::isfinite(found.largest)) fail("[histogram] data hold infinity, so they have no finite range");
  const FirstRange range({true, found.smallest_nonzero, found.largest, found.saw_zero}, skip_zeros);
  Histogram histogram{std::vector<int64_t>(static_cast<size_t>(bins)), numpy_edges(range, bins)};
  numpy_count(x, range, skip_zeros, histogram);
  return histogram;
}

AppendedEdges appended_edges(const Histogram& histogram, float largest, bool wide) {
  const double width = histogram.edges[1] - histogram.edges[0], last = histogram.edges.back();
  if (wide) {
    const double first = last + width, end = largest + width;
    return {first, (first + width) - first, std::ceil((end - first) / width)};
  }
  const float w = static_cast<float>(width), first = static_cast<float>(last) + w, end = largest + w;
  const float next = first + w;
  return {first, static_cast<double>(next) - static_cast<double>(first), std::ceil((end - first) / w)};
}

}  // namespace qdqbert::quant
