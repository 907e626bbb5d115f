// Packing of B for the GEMM kernels: once at load for weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "qdqbert/engine/kernels/gemm_s8.h"

namespace qdqbert::engine {

/// The kernel of an ISA; null when this build has none for it.
const GemmS8Kernel* find_gemm_s8(const char* isa);

inline size_t padded_k(size_t k) {
  return (k + kGemmKUnit - 1) / kGemmKUnit * kGemmKUnit;
}
/// The shortest k that run() takes for a panel whose rows past k are zero.
inline size_t least_k(const GemmS8Kernel& kernel, size_t k) {
  return kernel.layout == PanelLayout::kTiles ? padded_k(k) : (k + 31) / 32 * 32;
}
inline size_t panel_count(const GemmS8Kernel& kernel, size_t n) {
  return (n + kernel.columns - 1) / kernel.columns;
}
/// Bytes of one panel for a padded K; a multiple of 64, so consecutive panels stay aligned.
inline size_t panel_bytes(const GemmS8Kernel& kernel, size_t k) {
  return kernel.columns * (sizeof(int32_t) + k);
}

/// How B lies in memory: `b[k][n]` at k * k_stride + n * n_stride.
struct MatrixS8 {
  const int8_t* data;
  size_t k, n;
  size_t k_stride, n_stride;
};

/// Packs all columns into panel_count() panels one after the other; missing rows and columns become zero.
void pack_panels(const GemmS8Kernel& kernel, const MatrixS8& b, void* panels);

/// How a float weight lies in memory: `w[k][n]` at k * k_stride + n * n_stride.
struct MatrixF32 {
  const float* data;
  size_t k, n;
  size_t k_stride, n_stride;
};

/// Up to 8 columns would leave most lanes of a panel idle: such a matrix is laid along k instead (rows.h).
inline bool narrow_f32(size_t n) {
  return n <= 8;
}
/// Floats that pack_f32() writes.
size_t packed_f32_size(size_t k, size_t n);
/// The layout of LinearF32Args::weight.
void pack_f32(const MatrixF32& w, float* packed);

}  // namespace qdqbert::engine
