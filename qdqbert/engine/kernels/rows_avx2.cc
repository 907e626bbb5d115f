#include <immintrin.h>

#include "qdqbert/engine/kernels/rows.h"

namespace qdqbert::engine {

namespace {

struct F {
  __m256 low, high;
};
struct I {
  __m256i low, high;
};

inline F f_set(float s) {
  return {_mm256_set1_ps(s), _mm256_set1_ps(s)};
}
inline F f_load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
inline void f_store(float* p, F v) {
  _mm256_storeu_ps(p, v.low);
  _mm256_storeu_ps(p + 8, v.high);
}
inline F f_add(F a, F b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline F f_sub(F a, F b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
inline F f_mul(F a, F b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
inline F f_div(F a, F b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
inline F f_fma(F a, F b, F c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline F f_min(F a, F b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
inline F f_max(F a, F b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
inline F f_abs(F a) {
  const __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(a.low, mask), _mm256_and_ps(a.high, mask)};
}
inline float f_sqrt1(float x) {
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}
inline F f_select_negative(F x, F a, F b) {
  return {_mm256_blendv_ps(b.low, a.low, x.low), _mm256_blendv_ps(b.high, a.high, x.high)};
}
inline I i_load(const int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
inline F f_from_i(I v) {
  return {_mm256_cvtepi32_ps(v.low), _mm256_cvtepi32_ps(v.high)};
}
inline I i_from_f(F v) {
  return {_mm256_cvtps_epi32(v.low), _mm256_cvtps_epi32(v.high)};
}
inline __m256 scale2(__m256 x, __m256i n) {
  const __m256i scaled = _mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(n, 23));
  return _mm256_castsi256_ps(_mm256_and_si256(scaled, _mm256_cmpgt_epi32(n, _mm256_set1_epi32(-126))));
}
/// n in [-150, 0]: below -126 the exponent field would wrap, so those lanes become 0.
inline F f_scale2(F x, I n) {
  return {scale2(x.low, n.low), scale2(x.high, n.high)};
}
inline F f_load_bytes(const uint8_t* p, uint8_t flip) {
  const __m128i bytes = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)),
                                      _mm_set1_epi8(static_cast<char>(flip)));
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}
inline void store_codes(uint8_t* p, I v, uint8_t flip) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v.low, v.high), 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_xor_si128(bytes, _mm_set1_epi8(static_cast<char>(flip))));
}
inline __m256i first8(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline F f_load_partial(const float* p, size_t count) {
  const int c = static_cast<int>(count);
  return {_mm256_maskload_ps(p, first8(c)), _mm256_maskload_ps(p + 8, first8(c - 8))};
}
inline void f_store_partial(float* p, F v, size_t count) {
  const int c = static_cast<int>(count);
  _mm256_maskstore_ps(p, first8(c), v.low);
  _mm256_maskstore_ps(p + 8, first8(c - 8), v.high);
}
inline F f_keep_or(F v, size_t count, float s) {
  const int c = static_cast<int>(count);
  const __m256 other = _mm256_set1_ps(s);
  return {_mm256_blendv_ps(other, v.low, _mm256_castsi256_ps(first8(c))),
          _mm256_blendv_ps(other, v.high, _mm256_castsi256_ps(first8(c - 8)))};
}
inline F f_keep(F v, size_t count) {
  return f_keep_or(v, count, 0.0f);
}
inline void f_lanes(F v, float* p) {
  f_store(p, v);
}

constexpr size_t kLinearRows = 6, kLinearPanels = 1;
#define UNROLL _Pragma("GCC unroll 6")
#include "qdqbert/engine/kernels/rows_generic.inc"

const RowKernels kernels = {"avx2",     requantize, residual_layernorm, softmax,  quantize,
                            dequantize, add,        linear_f32,         activate, exp_array};

}  // namespace

const RowKernels& rows_avx2() {
  return kernels;
}

}  // namespace qdqbert::engine
