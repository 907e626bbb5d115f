#include <algorithm>

#include "qdqbert/engine/kernels/pack.h"

namespace qdqbert::engine {

namespace {

constexpr size_t kLanes = 16;

size_t whole_lanes(size_t n) {
  return (n + kLanes - 1) / kLanes * kLanes;
}

}  // namespace

size_t packed_f32_size(size_t k, size_t n) {
  return narrow_f32(n) ? n * whole_lanes(k) : k * whole_lanes(n);
}

void pack_f32(const MatrixF32& w, float* packed) {
  std::fill_n(packed, packed_f32_size(w.k, w.n), 0.0f);
  for (size_t n = 0; n < w.n; ++n) {
    const float* column = w.data + n * w.n_stride;
    const size_t first = narrow_f32(w.n) ? n * whole_lanes(w.k) : n / kLanes * kLanes * w.k + n % kLanes;
    const size_t step = narrow_f32(w.n) ? 1 : kLanes;
    for (size_t k = 0; k < w.k; ++k) packed[first + k * step] = column[k * w.k_stride];
  }
}

}  // namespace qdqbert::engine
