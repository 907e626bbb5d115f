#include "qdqbert/quant/torch_histogram.h"

#include <algorithm>
#include <cmath>

namespace qdqbert::quant {

namespace {

// That release fills vectors of eight values, two at a time, and the rest one by one; its compiler fused the
// product and the subtraction of linspace's second half.
constexpr size_t kVector = 8;

size_t vectorized_part(size_t count) {
  return count / (2 * kVector) * (2 * kVector);
}

}  // namespace

void torch_count(std::span<const float> x, float high, bool skip_zeros, bool as_is,
                 std::span<int64_t> counts) {
  const int64_t bins = static_cast<int64_t>(counts.size());
  const float low = high == 0 ? -1.0f : 0.0f, end = high == 0 ? 1.0f : high, width = end - low;
  for (const float raw : x) {
    if (skip_zeros && raw == 0) continue;
    const float value = as_is ? raw : std::fabs(raw);
    if (value < low || value > end) continue;
    const int64_t bin =
        value != value ? 0 : static_cast<int64_t>((value - low) / width * static_cast<float>(bins));
    ++counts[static_cast<size_t>(std::min(bin, bins - 1))];
  }
}

std::vector<double> torch_linspace(float high, int bins) {
  const size_t count = static_cast<size_t>(bins) + 1;
  const float step = high / static_cast<float>(bins);
  const size_t half = count / 2;
  const auto at = [&](size_t k) {
    return k < half ? step * static_cast<float>(k) : std::fma(-step, static_cast<float>(count - k - 1), high);
  };
  std::vector<double> edges(count);
  const size_t vectors = vectorized_part(count);
  for (size_t k = 0; k < vectors; ++k) {
    const size_t lane = k % kVector;
    edges[k] = at(k - lane) + static_cast<float>(lane) * step;
  }
  for (size_t k = vectors; k < count; ++k) edges[k] = at(k);
  return edges;
}

std::vector<double> torch_arange(float end, float width) {
  const double step = width;
  const size_t count = static_cast<size_t>(std::ceil(static_cast<double>(end) / step));
  std::vector<double> edges(count);
  const size_t vectors = vectorized_part(count);
  for (size_t k = 0; k < vectors; ++k) {
    const size_t lane = k % kVector;
    const float base = static_cast<float>(step * static_cast<double>(k - lane));
    edges[k] = static_cast<float>(base + static_cast<double>(lane) * step);
  }
  for (size_t k = vectors; k < count; ++k) edges[k] = static_cast<float>(step * static_cast<double>(k));
  return edges;
}

}  // namespace qdqbert::quant
