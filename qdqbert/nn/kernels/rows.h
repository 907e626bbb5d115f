// The loops of training over float32 rows, one table per instruction set, all with the same bits. Included by
// files with an ISA suffix: declarations only.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace qdqbert {
enum class Isa;
}

namespace qdqbert::nn {

/// Where a stream of random words begins: Philox4x32-10 with this key counts
/// c = (n, call, step low, step high).
struct RandomStream {
  uint64_t key;
  uint64_t step;
  uint32_t call;
};

/// y = (s - mean) / sqrt(variance + epsilon) * weight + bias of each row of s = sum + residual, which
/// replaces sum; `mean` and `inverse` (1 / sqrt(variance + epsilon)) get one number a row.
struct LayerNormArgs {
  size_t rows, columns;
  float* sum;
  const float* residual;  ///< or nullptr
  const float *weight, *bias;
  float epsilon;
  float *y, *mean, *inverse;
};

/// From what LayerNormArgs left: the gradient of s; those of weight and bias are added to what is there.
struct LayerNormBackwardArgs {
  size_t rows, columns;
  const float *sum, *mean, *inverse, *weight, *gradient;
  float *to_sum, *to_weight, *to_bias;
};

/// Bit i of a mask is bit i % 64 of word i / 64. Whoever reads a mask may read one word past its end.
struct RowKernels {
  const char* isa;
  /// Mask words [first, first + words): bit e is set where random word e is at least `threshold`. Word e of a
  /// stream is output (e % 64) / 16 of counter n = e / 64 * 16 + e % 16.
  void (*random_mask)(const RandomStream* stream, uint64_t first, size_t words, uint32_t threshold,
                      uint64_t* mask);
  /// y = mask[offset + i] ? x * scale : 0. y may be x.
  void (*apply_mask)(const float* x, const uint64_t* mask, size_t offset, float scale, size_t n, float* y);
  /// x Phi(x) with the normal distribution function Phi; absolute error below 3e-7 max(1, |x|). y may be x.
  void (*gelu)(const float* x, size_t n, float* y);
  /// out = g (Phi(x) + x phi(x)). out may be g.
  void (*gelu_backward)(const float* x, const float* g, size_t n, float* out);
  void (*layer_norm)(const LayerNormArgs* args);
  void (*layer_norm_backward)(const LayerNormBackwardArgs* args);
  /// Rows of x become softmax(x / divisor + mask row); `mask` may be nullptr, its rows lie `mask_stride`
  /// apart (0: one row for all).
  void (*softmax)(float* x, size_t rows, size_t n, float divisor, const float* mask, size_t mask_stride);
  /// The gradient g of probabilities p becomes that of the softmax's input x.
  void (*softmax_backward)(const float* p, float* g, size_t rows, size_t n, float divisor);
};

extern const RowKernels kRowKernelsRef;
extern const RowKernels kRowKernelsAvx2;
extern const RowKernels kRowKernelsAvx512;

/// The table for an ISA that this machine supports (rows_x86.cc, rows_arm64.cc).
const RowKernels& row_kernels_for(Isa isa);
/// That of preferred_isa().
const RowKernels& row_kernels();

}  // namespace qdqbert::nn
