// Scales and zero points of INT8 tensors, and the rounding that all quantizing operators share.
#pragma once

#include <limits>

#include "qdqbert/engine/reference/call.h"

namespace qdqbert::engine::reference {

/// One scale and zero point for the whole tensor, or one for each index of an axis: element e
/// belongs to pair e / inner % scale.size().
struct Quantizer {
  std::vector<float> scale;
  std::vector<int32_t> zero_point;
  DType dtype = DType::kU8;  ///< of the zero point
  int64_t inner = 1;
};

/// `zero_point` may be null: zeros, and `dtype` is `otherwise`. Refuses scales that are not finite and
/// positive, other than `axis` elements, and types that do not fit each other.
Quantizer quantizer_of(const Call& call, const Shape& shape, const Tensor& scale, const Tensor* zero_point,
                       DType otherwise, int64_t axis);

/// The same for a single pair.
Quantizer quantizer_of_tensor(const Call& call, const Tensor& scale, const Tensor* zero_point,
                              DType otherwise);

/// clamp(rne(value) + zero_point); NaN becomes the lowest code.
template <class Code>
Code quantized(float value, int32_t zero_point) {
  const float low = static_cast<float>(std::numeric_limits<Code>::min() - zero_point);
  const float high = static_cast<float>(std::numeric_limits<Code>::max() - zero_point);
  // Bounds are integers, so that clamping first changes nothing; then adding 1.5 * 2^23 leaves no place for a
  // fraction, and the addition rounds to even.
  float v = value > low ? value : low;
  v = v < high ? v : high;
  constexpr float kShift = 12582912.0f;
  return static_cast<Code>(static_cast<int32_t>((v + kShift) - kShift) + zero_point);
}

}  // namespace qdqbert::engine::reference
