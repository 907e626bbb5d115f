// The loops of this room over contiguous float32 runs, one table per instruction set. Every table gives the
// same bits: only correctly rounded operations, maxima, minima and integer counts, so no order of evaluation
// can show. Included by files with an ISA suffix: declarations only.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace qdqbert {
enum class Isa;
}

namespace qdqbert::quant {

/// Flags that Kernels::quantize returns.
constexpr unsigned kSawNegative = 1;  ///< some x < 0
constexpr unsigned kSawNan = 2;

/// What Kernels::magnitudes finds; NaN elements take part in `saw_nan` only.
struct Magnitudes {
  float largest;           ///< max |x|, 0 for no elements
  float smallest_nonzero;  ///< min |x| over x != 0, +inf when there is none
  bool saw_zero;
  bool saw_negative;
  bool saw_nan;
};

/// Where a magnitude belongs: bin k holds thresholds[k] <= |x| < thresholds[k + 1]; the last bin holds `last`
/// too, and everything outside [thresholds[0], last] is dropped. f(x) = (|x| - origin) * inverse_width
/// estimates the position: it is non-decreasing, and a value whose fraction lies in (margin, 1 - margin) is
/// certain to be in bin trunc(f(x)); the others are compared with the thresholds.
struct BinRule {
  const float* thresholds;  ///< bins + 1, ascending
  int32_t bins;
  float last;
  float origin;
  float inverse_width;
  float margin;
  bool skip_zeros;
};

/// Copies of the counts that consecutive elements use in turn, so that equal
/// neighbours do not wait for each other.
constexpr size_t kCountTables = 4;

struct Kernels {
  const char* isa;
  /// y = clamp(rne(x * scale), lower, upper) / divisor; NaN stays. Returns flags. y may be x.
  unsigned (*quantize)(const float* x, float* y, size_t n, float scale, float divisor, float lower,
                       float upper);
  /// r = rne(x * inverse); r = -inf when not r < 2^63 (NaN included), but `overflow` when r >= 2^63;
  /// y = clamp(r, lower, upper) * step, without negative zeros in the product's first factor. y may be x.
  void (*affine)(const float* x, float* y, size_t n, float inverse, float step, float lower, float upper,
                 float overflow);
  /// out = |x| <= amax ? g : 0. out may be g.
  void (*pass_inside)(const float* x, const float* g, float* out, size_t n, float amax);
  /// out = lower <= rne(x * inverse) <= upper ? g : 0. out may be g.
  void (*pass_affine)(const float* x, const float* g, float* out, size_t n, float inverse, float lower,
                      float upper);
  /// Sets bit (offset + i) of `mask` (bit b is bit b % 8 of byte b / 8) to whether pass_inside would pass
  /// element i. Other bits stay; bytes without such bits are not touched.
  void (*mark_inside)(const float* x, size_t n, float amax, uint8_t* mask, size_t offset);
  /// The same for pass_affine.
  void (*mark_affine)(const float* x, size_t n, float inverse, float lower, float upper, uint8_t* mask,
                      size_t offset);
  Magnitudes (*magnitudes)(const float* x, size_t n);
  /// Adds to counts[table * rule.bins + bin], kCountTables tables; n < 2^31. x must not hold NaN.
  void (*count)(const float* x, size_t n, const BinRule* rule, uint32_t* counts);
};

extern const Kernels kKernelsRef;
extern const Kernels kKernelsAvx2;
extern const Kernels kKernelsAvx512;

/// The table for an ISA that this machine supports (kernels_x86.cc, kernels_arm64.cc).
const Kernels& kernels_for(Isa isa);
/// That of preferred_isa().
const Kernels& kernels();

}  // namespace qdqbert::quant
