#include <algorithm>
#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/fake_quant.h"

namespace qdqbert::quant {

void fake_affine(std::span<const float> x, float min_range, float max_range, int num_bits,
                 std::span<float> y) {
  if (x.size() != y.size()) fail("[fake_affine] input has {} elements, output {}", x.size(), y.size());
  const float step = (max_range - min_range) / static_cast<float>(std::exp2(num_bits) - 1.0);
  const float lower = static_cast<float>(-std::exp2(num_bits - 1)), upper = -lower - 1.0f;
  const float zero_point = std::nearbyint(min_range / step) - lower;
  for (size_t i = 0; i < x.size(); ++i) {
    float q = std::nearbyint(x[i] / step) - zero_point;
    if (q < lower) q = lower;
    if (q > upper) q = upper;
    y[i] = (q + zero_point) * step;
  }
}

void fake_affine_backward(std::span<const float> x, float min_range, float max_range,
                          std::span<const float> grad_y, std::span<float> grad_x) {
  if (x.size() != grad_y.size() || x.size() != grad_x.size())
    fail("[fake_affine] input has {} elements, gradients {} and {}", x.size(), grad_y.size(), grad_x.size());
  for (size_t i = 0; i < x.size(); ++i) grad_x[i] = min_range <= x[i] && x[i] <= max_range ? grad_y[i] : 0.0f;
}

}  // namespace qdqbert::quant
