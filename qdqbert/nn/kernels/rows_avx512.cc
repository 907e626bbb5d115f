#include <immintrin.h>

#include "qdqbert/nn/kernels/rows.h"

#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

namespace qdqbert::nn {

namespace {

typedef float F __attribute__((vector_size(64)));
typedef int32_t I __attribute__((vector_size(64)));
typedef uint32_t U __attribute__((vector_size(64)));

INLINE __mmask16 first(size_t count) {
  return count >= 16 ? 0xffff : static_cast<__mmask16>((1u << count) - 1);
}
INLINE F f_fma(F a, F b, F c) {
  return _mm512_fmadd_ps(a, b, c);
}
INLINE F f_sqrt(F a) {
  return _mm512_sqrt_ps(a);
}
INLINE F f_round(F a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
INLINE F f_keep(F v, uint32_t bits) {
  return _mm512_maskz_mov_ps(static_cast<__mmask16>(bits), v);
}
INLINE uint32_t signs(I v) {
  return _mm512_movepi32_mask((__m512i)v);
}
INLINE F f_load_partial(const float* p, size_t count) {
  return _mm512_maskz_loadu_ps(first(count), p);
}
INLINE void f_store_partial(float* p, F v, size_t count) {
  _mm512_mask_storeu_ps(p, first(count), v);
}
INLINE void multiply_wide(U a, uint32_t factor, U* high, U* low) {
  const __m512i even = (__m512i)a, odd = _mm512_srli_epi64(even, 32), f = _mm512_set1_epi64(factor);
  const __m512i of_even = _mm512_mul_epu32(even, f), of_odd = _mm512_mul_epu32(odd, f);
  *low = (U)_mm512_mask_mov_epi32(of_even, 0xaaaa, _mm512_slli_epi64(of_odd, 32));
  *high = (U)_mm512_mask_mov_epi32(_mm512_srli_epi64(of_even, 32), 0xaaaa, of_odd);
}

#include "qdqbert/nn/kernels/lanes.inc"
#include "qdqbert/nn/kernels/rows_generic.inc"

}  // namespace

const RowKernels kRowKernelsAvx512 = {"avx512",        random_mask, apply_mask,          gelu,
                                      gelu_backward,   layer_norm,  layer_norm_backward, softmax,
                                      softmax_backward};

}  // namespace qdqbert::nn
