// Sorting magnitudes into bins, exactly.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qdqbert/quant/kernels.h"

namespace qdqbert::quant {

/// Counts how many |x| lie in each bin of fixed edges: edges[k] <= |x| < edges[k + 1],
/// the last bin also at its right edge; anything outside is dropped. Comparisons are those of
/// float32 values with the edges as real numbers.
class BinCounter {
 public:
  /// `edges`: ascending, at least two.
  explicit BinCounter(const std::vector<double>& edges);

  size_t bins() const { return thresholds_.size() - 1; }

  /// Adds to counts[0 .. bins()). x must not hold NaN. Large inputs are shared among threads.
  void count(std::span<const float> x, bool skip_zeros, std::span<int64_t> counts) const;

  /// The same for x as it is: negative values are below the first edge or in their own bin, NaN is dropped.
  void count_signed(std::span<const float> x, bool skip_zeros, std::span<int64_t> counts) const;

 private:
  void count_one(float value, std::span<int64_t> counts) const;

  std::vector<float> thresholds_;  ///< smallest float32 that is not below each edge
  float last_;                     ///< largest float32 that is not above the last edge
  float inverse_width_;
  float margin_;  ///< see BinRule; 1 when the bins are too uneven for an estimate
};

}  // namespace qdqbert::quant
