// Bins as numpy 1.26 places them for float32 data.
#pragma once

#include <span>

#include "qdqbert/quant/calibration_peers.h"
#include "qdqbert/quant/histogram.h"

namespace qdqbert::quant {

/// np.histogram(|x|, bins): `bins` equal bins from min |x| to max |x|, float32 edges. Equal extremes widen
/// the range by 0.5 on both sides, no (counted) element gives [0, 1]. Throws InputError for NaN or infinity.
Histogram numpy_histogram(std::span<const float> x, int bins, bool skip_zeros = false);

/// The range that numpy gives the magnitudes of a first batch.
struct FirstRange {
  FirstRange(const BatchExtremes& batch, bool skip_zeros);
  double low, high;
  bool is_widened;  ///< by 0.5 on both sides, because the extremes are equal
};

/// The two halves of numpy_histogram: float32 edges, and the batch's own counts added to `histogram`, whose
/// edges are those of `range`.
std::vector<double> numpy_edges(const FirstRange& range, int bins);
void numpy_count(std::span<const float> x, const FirstRange& range, bool skip_zeros, Histogram& histogram);

/// How many bins numpy's collector would append to reach `largest`; and their right edges. `wide`: the edges
/// are float64 already (after a first growth), so the arithmetic is too.
struct AppendedEdges {
  double first = 0, step = 0, count = 0;
};
AppendedEdges appended_edges(const Histogram& histogram, float largest, bool wide);

}  // namespace qdqbert::quant
