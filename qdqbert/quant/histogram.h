// Counts over bin edges, and the ranges that can be read off them.
#pragma once

#include <cstdint>
#include <vector>

namespace qdqbert::quant {

/// counts[k] holds edges[k] <= x < edges[k + 1], the last bin its right edge too.
struct Histogram {
  std::vector<int64_t> counts;
  std::vector<double> edges;  ///< float32 values until a numpy-style histogram has grown
  bool empty() const { return edges.empty(); }
};

/// Left edge of the first bin at which the share of counts reaches percentile / 100; the last edge when
/// rounding keeps the sum below it. Throws InputError outside [0, 100].
float percentile_amax(const Histogram& histogram, double percentile);

/// Right edge of the prefix of bins whose distribution loses least (Kullback-Leibler divergence) by
/// quantization to 2^(num_bits - 1 + unsigned) levels; the largest such prefix. Sets counts[0] = counts[1]
/// first. The formulas are in docs/quantization.md, "Ranges from histograms".
float entropy_amax(Histogram& histogram, int num_bits, bool is_unsigned, int stride, int start_bin);

/// Centre of the bin that, as range, gives the least mean squared error of the bin centres (same section). A
/// centre below zero is an InputError, as in the toolkit, or, with `only_positive`, no candidate.
float mse_amax(const Histogram& histogram, int num_bits, bool is_unsigned, int stride, int start_bin,
               bool only_positive = false);

}  // namespace qdqbert::quant
