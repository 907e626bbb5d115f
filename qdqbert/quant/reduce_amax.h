// Maxima of magnitudes.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "qdqbert/quant/float_array.h"

namespace qdqbert::quant {

/// max |x|; 0 for no elements, NaN when any element is NaN.
float abs_max(std::span<const float> x, int threads = 0);

/// True when no element is NaN or infinite.
bool all_finite(std::span<const float> x, int threads = 0);

/// Axes to reduce: none = all; one number; or several (`is_tuple` false for a Python
/// list, which is not checked for length).
struct ReduceAxes {
  std::vector<int> dims;
  bool is_number = false;
  bool is_tuple = true;
};

/// The toolkit's reduce_amax (docs/quantization.md, "Maxima, clipping, free ranges"). Negative axes count
/// from the end. Several axes: all dimensions of size 1 are dropped when keepdims is false or one element
/// results. Throws InputError: more axes than dimensions, an axis out of range, an empty tensor.
FloatArray reduce_amax(std::span<const float> x, const Shape& shape, const std::optional<ReduceAxes>& axes,
                       bool keepdims = true);

/// Range per kept dimension as a quantizer needs it: reduces every dimension that is not in `kept`, keeping
/// size-1 dimensions; one element gives a scalar. Entries of `kept` outside [0, rank) match nothing. Throws
/// InputError for an empty tensor.
FloatArray amax_of_kept_axes(std::span<const float> x, const Shape& shape, const std::vector<int>& kept);

}  // namespace qdqbert::quant
