// Fake quantization of float tensors, forward and backward, per tensor, per channel and for several axes.
//
// Notation: B = 2^(bits - 1 + unsigned) - 1, rne = round to nearest with ties to even; every operation is
// rounded to float32, none is fused.
//   kToolkit  q = clamp(rne(x * s), lo, B), y = q / s, with s = B / amax
//             and lo = 0 unsigned, -B narrow, else -B - 1.
//             amax <= 2^-24: y = 0. NaN stays NaN. Gradient passes where |x| <= amax.
//   kAffine   q = clamp(rne(x * (1 / t)), lo, B), y = q * t, with t = amax / B
//             and lo = 0 unsigned, else -B - 1 (narrow_range has no meaning).
//             NaN, +-inf and |x / t| >= 2^63 become the lower bound.
//             Gradient passes where the unclamped q is in bounds.
// Results are the same bits on every instruction set and for every number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "qdqbert/quant/float_array.h"

namespace qdqbert::quant {

enum class Arithmetic {
  kToolkit,           ///< the toolkit's own operators, which PTQ and QAT use
  kAffine,            ///< use_fb_fake_quant: what an exported Q/DQ pair means
  kAffineSaturating,  ///< kAffine where too large positive quotients become B (newer PyTorch, per tensor)
};

struct QuantParams {
  int num_bits = 8;
  bool is_unsigned = false;
  bool narrow_range = false;
  Arithmetic arithmetic = Arithmetic::kToolkit;
};

/// Largest quantized magnitude B, e.g. 127, 255 (unsigned), 7 (4 bits);
/// 0.5 below zero for 0 bits, as the toolkit has it.
float max_bound(int num_bits, bool is_unsigned);
/// Smallest quantized value lo.
float min_bound(const QuantParams& params);

/// A range laid over a tensor seen as [outer, channels, inner]: element (o, c, i) uses values[c].
struct AmaxView {
  size_t outer = 1;
  size_t channels = 1;
  size_t inner = 0;
  std::vector<float> values;  ///< channels of them

  size_t count() const { return outer * channels * inner; }
  static AmaxView per_tensor(float amax, size_t count) { return {1, 1, count, {amax}}; }
};

/// Lays `amax` over a tensor of shape `x` by right-aligned broadcasting, any number of axes. Throws
/// InputError when it does not broadcast to `x`.
AmaxView broadcast_amax(const FloatArray& amax, const Shape& x);

/// The rule of kAffine: at most one axis, the first dimension of amax's shape that has its element count (so
/// a 1-D amax belongs to dimension 0). Throws InputError for several axes and for lengths that differ.
AmaxView affine_amax(const FloatArray& amax, const Shape& x);

/// broadcast_amax or affine_amax, whichever `arithmetic` uses.
AmaxView lay_amax(const FloatArray& amax, const Shape& x, Arithmetic arithmetic);

/// y = fake_quant(x). y may be x itself. kToolkit throws InputError for a negative amax and,
/// when unsigned, for a negative x in a tensor without NaN; y is then unspecified. threads <= 0:
/// default_threads(); small tensors use one.
void fake_quant(std::span<const float> x, const AmaxView& amax, const QuantParams& params, std::span<float> y,
                int threads = 0);

/// fake_quant, and bit i of `mask` (bit b is bit b % 8 of byte b / 8, ceil(count / 8) bytes) says whether the
/// gradient passes element i. y may be x.
void fake_quant_marked(std::span<const float> x, const AmaxView& amax, const QuantParams& params,
                       std::span<float> y, std::span<uint8_t> mask, int threads = 0);

/// grad_x = grad_y where the gradient passes, else 0. grad_x may be grad_y. `x` is the input of the forward.
void fake_quant_backward(std::span<const float> x, const AmaxView& amax, const QuantParams& params,
                         std::span<const float> grad_y, std::span<float> grad_x, int threads = 0);

/// The toolkit's tensor_quant (kToolkit only): integer values q in float32 and one scale a channel, 1 where
/// amax <= 2^-24. Same errors as fake_quant. Its gradient is that of fake_quant_backward, unscaled.
void tensor_quant(std::span<const float> x, const AmaxView& amax, const QuantParams& params,
                  std::span<float> q, std::span<float> scale, int threads = 0);

/// fake_affine_tensor_quant: quantization with a free range [min, max] (experimental in the toolkit).
void fake_affine(std::span<const float> x, float min_range, float max_range, int num_bits,
                 std::span<float> y);
/// Gradient passes where min <= x <= max.
void fake_affine_backward(std::span<const float> x, float min_range, float max_range,
                          std::span<const float> grad_y, std::span<float> grad_x);

}  // namespace qdqbert::quant
