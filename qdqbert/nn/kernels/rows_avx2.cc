#include <immintrin.h>

#include "qdqbert/nn/kernels/rows.h"

#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

namespace qdqbert::nn {

namespace {

typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef uint32_t U __attribute__((vector_size(64)));

struct Halves {
  __m256 half[2];
};

INLINE Halves split(F v) {
  Halves h;
  __builtin_memcpy(&h, &v, sizeof(h));
  return h;
}
INLINE F join(Halves h) {
  F v;
  __builtin_memcpy(&v, &h, sizeof(v));
  return v;
}
INLINE F f_fma(F a, F b, F c) {
  const Halves x = split(a), y = split(b), z = split(c);
  return join(
      {_mm256_fmadd_ps(x.half[0], y.half[0], z.half[0]), _mm256_fmadd_ps(x.half[1], y.half[1], z.half[1])});
}
INLINE F f_sqrt(F a) {
  const Halves x = split(a);
  return join({_mm256_sqrt_ps(x.half[0]), _mm256_sqrt_ps(x.half[1])});
}
INLINE F f_round(F a) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  const Halves x = split(a);
  return join({_mm256_round_ps(x.half[0], kNearest), _mm256_round_ps(x.half[1], kNearest)});
}
INLINE __m256 keep_eight(__m256 v, uint32_t bits) {
  const __m256i place = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), place);
  return _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, place)));
}
INLINE F f_keep(F v, uint32_t bits) {
  const Halves x = split(v);
  return join({keep_eight(x.half[0], bits), keep_eight(x.half[1], bits >> 8)});
}
INLINE uint32_t signs(I v) {
  const Halves x = split((F)v);
  return static_cast<uint32_t>(_mm256_movemask_ps(x.half[0])) |
         static_cast<uint32_t>(_mm256_movemask_ps(x.half[1])) << 8;
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
  __m256i in[2], high_half[2], low_half[2];
  __builtin_memcpy(in, &a, sizeof(in));
  const __m256i f = _mm256_set1_epi64x(factor);
  for (int h = 0; h < 2; ++h) {
    const __m256i of_even = _mm256_mul_epu32(in[h], f);
    const __m256i of_odd = _mm256_mul_epu32(_mm256_srli_epi64(in[h], 32), f);
    low_half[h] = _mm256_blend_epi32(of_even, _mm256_slli_epi64(of_odd, 32), 0xaa);
    high_half[h] = _mm256_blend_epi32(_mm256_srli_epi64(of_even, 32), of_odd, 0xaa);
  }
  __builtin_memcpy(high, high_half, sizeof(*high));
  __builtin_memcpy(low, low_half, sizeof(*low));
}

#include "qdqbert/nn/kernels/lanes.inc"
#include "qdqbert/nn/kernels/rows_generic.inc"

}  // namespace

const RowKernels kRowKernelsAvx2 = {"avx2",          random_mask, apply_mask,          gelu,
                                    gelu_backward,   layer_norm,  layer_norm_backward, softmax,
                                    softmax_backward};

}  // namespace qdqbert::nn
