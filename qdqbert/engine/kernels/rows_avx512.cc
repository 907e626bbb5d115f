#include <immintrin.h>

#include "qdqbert/engine/kernels/rows.h"

namespace qdqbert::engine {

namespace {

using F = __m512;
using I = __m512i;

inline __mmask16 first(size_t count) {
  return count >= 16 ? 0xffff : static_cast<__mmask16>((1u << count) - 1);
}
inline F f_set(float s) {
  return _mm512_set1_ps(s);
}
inline F f_load(const float* p) {
  return _mm512_loadu_ps(p);
}
inline void f_store(float* p, F v) {
  _mm512_storeu_ps(p, v);
}
inline F f_add(F a, F b) {
  return _mm512_add_ps(a, b);
}
inline F f_sub(F a, F b) {
  return _mm512_sub_ps(a, b);
}
inline F f_mul(F a, F b) {
  return _mm512_mul_ps(a, b);
}
inline F f_div(F a, F b) {
  return _mm512_div_ps(a, b);
}
inline F f_fma(F a, F b, F c) {
  return _mm512_fmadd_ps(a, b, c);
}
inline F f_min(F a, F b) {
  return _mm512_min_ps(a, b);
}
inline F f_max(F a, F b) {
  return _mm512_max_ps(a, b);
}
inline F f_abs(F a) {
  return _mm512_abs_ps(a);
}
inline float f_sqrt1(float x) {
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}
inline F f_select_negative(F x, F a, F b) {
  return _mm512_mask_mov_ps(b, _mm512_movepi32_mask(_mm512_castps_si512(x)), a);
}
inline I i_load(const int32_t* p) {
  return _mm512_loadu_si512(p);
}
inline F f_from_i(I v) {
  return _mm512_cvtepi32_ps(v);
}
inline I i_from_f(F v) {
  return _mm512_cvtps_epi32(v);
}
inline F f_at_least(F x, float s, F v) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(s), _CMP_GE_OQ), v);
}
inline F f_add_exponent(F v, F t) {
  return _mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_castps_si512(v), _mm512_slli_epi32(_mm512_castps_si512(t), 23)));
}
inline I i_set(int32_t s) {
  return _mm512_set1_epi32(s);
}
inline I i_sub(I a, I b) {
  return _mm512_sub_epi32(a, b);
}
inline I i_max(I a, I b) {
  return _mm512_max_epi32(a, b);
}
inline F f_load_bytes(const uint8_t* p, uint8_t flip) {
  const __m128i bytes = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)),
                                      _mm_set1_epi8(static_cast<char>(flip)));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}
inline void store_codes(uint8_t* p, I v, uint8_t flip) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_xor_si128(_mm512_cvtsepi32_epi8(v), _mm_set1_epi8(static_cast<char>(flip))));
}
inline F f_load_partial(const float* p, size_t count) {
  return _mm512_maskz_loadu_ps(first(count), p);
}
inline void f_store_partial(float* p, F v, size_t count) {
  _mm512_mask_storeu_ps(p, first(count), v);
}
inline F f_keep(F v, size_t count) {
  return _mm512_maskz_mov_ps(first(count), v);
}
inline I i_keep_or(I v, size_t count, int32_t s) {
  return _mm512_mask_mov_epi32(_mm512_set1_epi32(s), first(count), v);
}
inline float f_reduce_add(F v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline int32_t i_reduce_max(I v) {
  const __m256i eight = _mm256_max_epi32(_mm512_castsi512_si256(v), _mm512_extracti32x8_epi32(v, 1));
  const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
  return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 1)));
}

constexpr size_t kLinearRows = 12, kLinearPanels = 2, kTogether = 4, kChains = 8;
#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 12")
#include "qdqbert/engine/kernels/rows_generic.inc"

const RowKernels kernels = {"avx512",   requantize, residual_layernorm, softmax,  quantize,
                            dequantize, add,        linear_f32,         activate, exp_array};

}  // namespace

const RowKernels& rows_avx512() {
  return kernels;
}

}  // namespace qdqbert::engine
