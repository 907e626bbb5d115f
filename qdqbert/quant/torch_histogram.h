// Bins as PyTorch 1.13's histc, linspace and arange place them on the CPU.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qdqbert::quant {

/// Adds to `counts` the |x| (x itself when `as_is`) that fall into counts.size() equal bins over [0, high]:
/// bin trunc(x / high * bins) in float32, x = high in the last one. NaN counts in bin 0, as there. high = 0
/// stands for the range [-1, 1].
void torch_count(std::span<const float> x, float high, bool skip_zeros, bool as_is,
                 std::span<int64_t> counts);

/// linspace(0, high, bins + 1)
std::vector<double> torch_linspace(float high, int bins);

/// arange(0, end, width)
std::vector<double> torch_arange(float end, float width);

}  // namespace qdqbert::quant
