#include "qdqbert/nn/kernels/rows.h"

#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

namespace qdqbert::nn {

namespace {

typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef uint32_t U __attribute__((vector_size(64)));

INLINE F f_fma(F a, F b, F c) {
  F v;
  for (int j = 0; j < 16; ++j) v[j] = __builtin_fmaf(a[j], b[j], c[j]);
  return v;
}
INLINE F f_sqrt(F a) {
  F v;
  for (int j = 0; j < 16; ++j) v[j] = __builtin_sqrtf(a[j]);
  return v;
}
INLINE F f_round(F a) {
  F v;
  for (int j = 0; j < 16; ++j) v[j] = __builtin_nearbyintf(a[j]);
  return v;
}
INLINE F f_keep(F v, uint32_t bits) {
  for (int j = 0; j < 16; ++j) v[j] = bits >> j & 1 ? v[j] : 0.0f;
  return v;
}
INLINE uint32_t signs(I v) {
  uint32_t bits = 0;
  for (int j = 0; j < 16; ++j) bits |= static_cast<uint32_t>(v[j] < 0) << j;
  return bits;
}
INLINE F f_load_partial(const float* p, size_t count) {
  F v = {};
  if (count >= 16) {
    __builtin_memcpy(&v, p, sizeof(v));
  } else {
    __builtin_memcpy(&v, p, count * sizeof(float));
  }
  return v;
}
INLINE void f_store_partial(float* p, F v, size_t count) {
  if (count >= 16) {
    __builtin_memcpy(p, &v, sizeof(v));
  } else {
    __builtin_memcpy(p, &v, count * sizeof(float));
  }
}
INLINE void multiply_wide(U a, uint32_t factor, U* high, U* low) {
  for (int j = 0; j < 16; ++j) {
    const uint64_t product = static_cast<uint64_t>(a[j]) * factor;
    (*high)[j] = static_cast<uint32_t>(product >> 32);
    (*low)[j] = static_cast<uint32_t>(product);
  }
}

#include "qdqbert/nn/kernels/lanes.inc"
#include "qdqbert/nn/kernels/rows_generic.inc"

}  // namespace

const RowKernels kRowKernelsRef = {"ref",           random_mask, apply_mask,          gelu,
                                   gelu_backward,   layer_norm,  layer_norm_backward, softmax,
                                   softmax_backward};

}  // namespace qdqbert::nn
