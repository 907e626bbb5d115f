// Clipping to a (learned) range and its gradients.
#pragma once

#include <span>

#include "qdqbert/quant/float_array.h"

namespace qdqbert::quant {

/// y = max(min(x, high), low), so `low` wins when low > high; NaN stays.
/// Bounds broadcast to `shape`. y may be x.
void clip(std::span<const float> x, const Shape& shape, const FloatArray& low, const FloatArray& high,
          std::span<float> y);

struct BoundGradients {
  float low = 0;   ///< sum of grad_y where not x > low
  float high = 0;  ///< sum of grad_y where not x < high
};

/// grad_x = grad_y strictly inside (low, high), else 0. NaN is outside on both sides. Sums are accumulated in
/// double. As in the toolkit only scalar bounds have gradients: bounds with dimensions throw InputError.
BoundGradients clip_backward(std::span<const float> x, const FloatArray& low, const FloatArray& high,
                             std::span<const float> grad_y, std::span<float> grad_x);

}  // namespace qdqbert::quant
