// The loops of training over float32 rows, one table per instruction set, all with the same bits. Included by
// files with an ISA suffix: declarations only.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace qdqbert::nn {

/// Where a stream of random words begins: Philox4x32-10 with this key counts c = (n, call, step low, step
/// high).
struct RandomStream {
  uint64_t key;
  uint64_t step;
  uint32_t call;
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
};

extern const RowKernels kRowKernelsRef;
extern const RowKernels kRowKernelsAvx2;
extern const RowKernels kRowKernelsAvx512;

/// The table for preferred_isa().
const RowKernels& row_kernels();

}  // namespace qdqbert::nn
