// Bins as numpy 1.26 places them for float32 data.
#pragma once

#include <span>

#include "qdqbert/quant/histogram.h"

namespace qdqbert::quant {

/// np.histogram(|x|, bins): `bins` equal bins from min |x| to max |x|, float32 edges. Equal extremes widen
/// the range by 0.5 on both sides, no (counted) element gives [0, 1]. Throws InputError for NaN or infinity.
Histogram numpy_histogram(std::span<const float> x, int bins, bool skip_zeros = false);

/// How many bins numpy's collector would append to reach `largest`; and their right edges. `wide`: the edges
/// are float64 already (after a first growth), so the arithmetic is too.
struct AppendedEdges {
  double first = 0, step = 0, count = 0;
};
AppendedEdges appended_edges(const Histogram& histogram, float largest, bool wide);

}  // namespace qdqbert::quant
