#include "qdqbert/quant/clip.h"

#include "qdqbert/base/error.h"
#include "qdqbert/quant/fake_quant.h"

namespace qdqbert::quant {

namespace {

/// Value of a bound for every element of a tensor, by the broadcasting of ranges.
class Bound {
 public:
  Bound(const FloatArray& bound, const Shape& shape) : view_(broadcast_amax(bound, shape)) {}
  float at(size_t index) const {
    return view_.values[view_.channels == 1 ? 0 : index / view_.inner % view_.channels];
  }

 private:
  AmaxView view_;
};

}  // namespace

void clip(std::span<const float> x, const Shape& shape, const FloatArray& low, const FloatArray& high,
          std::span<float> y) {
  const size_t count = static_cast<size_t>(element_count(shape));
  if (x.size() != count || y.size() != count)
    fail("[clip] shape {} has {} elements, input has {} and output {}", to_string(shape), count, x.size(),
         y.size());
  const Bound lows(low, shape), highs(high, shape);
  for (size_t i = 0; i < count; ++i) {
    const float upper = highs.at(i), lower = lows.at(i);
    float value = x[i];
    if (value > upper || upper != upper) value = upper;
    if (value < lower || lower != lower) value = lower;
    y[i] = value;
  }
}

BoundGradients clip_backward(std::span<const float> x, const FloatArray& low, const FloatArray& high,
                             std::span<const float> grad_y, std::span<float> grad_x) {
  if (!low.shape.empty() || !high.shape.empty())
    fail("[clip] only scalar bounds have gradients, got bounds of shape {} and {}", to_string(low.shape),
         to_string(high.shape));
  if (x.size() != grad_y.size() || x.size() != grad_x.size())
    fail("[clip] input has {} elements, gradients {} and {}", x.size(), grad_y.size(), grad_x.size());
  const float lower = low.values.at(0), upper = high.values.at(0);
  double below = 0, above = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const bool over_low = x[i] > lower, under_high = x[i] < upper;
    const float gradient = grad_y[i];
    if (!over_low) below += gradient;
    if (!under_high) above += gradient;
    grad_x[i] = over_low && under_high ? gradient : 0.0f;
  }
  return {static_cast<float>(below), static_cast<float>(above)};
}

}  // namespace qdqbert::quant
