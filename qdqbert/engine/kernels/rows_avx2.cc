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
inline F f_fnma(F a, F b, F c) {
  return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
}
inline F f_relu(F x) {
  return {_mm256_max_ps(_mm256_setzero_ps(), x.low), _mm256_max_ps(_mm256_setzero_ps(), x.high)};
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
inline F f_at_least(F x, float s, F v) {
  const __m256 bound = _mm256_set1_ps(s);
  return {_mm256_and_ps(v.low, _mm256_cmp_ps(x.low, bound, _CMP_GE_OQ)),
          _mm256_and_ps(v.high, _mm256_cmp_ps(x.high, bound, _CMP_GE_OQ))};
}
inline __m256 add_exponent(__m256 v, __m256 t) {
  return _mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_castps_si256(v), _mm256_slli_epi32(_mm256_castps_si256(t), 23)));
}
inline F f_add_exponent(F v, F t) {
  return {add_exponent(v.low, t.low), add_exponent(v.high, t.high)};
}
inline F f_scale(F v, F, F t) {
  return f_add_exponent(v, t);
}
inline I i_set(int32_t s) {
  return {_mm256_set1_epi32(s), _mm256_set1_epi32(s)};
}
inline I i_sub(I a, I b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
inline I i_max(I a, I b) {
  return {_mm256_max_epi32(a.low, b.low), _mm256_max_epi32(a.high, b.high)};
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
inline void store_codes_2x2(uint8_t* p, size_t ld, const I* q, uint8_t flip) {
  for (size_t i = 0; i < 4; ++i) store_codes(p + i / 2 * ld + i % 2 * 16, q[i], flip);
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
inline F f_keep(F v, size_t count) {
  const int c = static_cast<int>(count);
  return {_mm256_and_ps(v.low, _mm256_castsi256_ps(first8(c))),
          _mm256_and_ps(v.high, _mm256_castsi256_ps(first8(c - 8)))};
}
inline I i_keep_or(I v, size_t count, int32_t s) {
  const int c = static_cast<int>(count);
  const __m256i other = _mm256_set1_epi32(s);
  return {_mm256_blendv_epi8(other, v.low, first8(c)), _mm256_blendv_epi8(other, v.high, first8(c - 8))};
}
inline float f_reduce_add(F v) {
  const __m256 eight = _mm256_add_ps(v.low, v.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline int32_t i_reduce_max(I v) {
  const __m256i eight = _mm256_max_epi32(v.low, v.high);
  const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
  return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 1)));
}

constexpr size_t kLinearRows = 6, kLinearPanels = 1, kTogether = 2, kChains = 4, kVectors = 1;
#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 6")
#include "qdqbert/engine/kernels/rows_generic.inc"

const RowKernels kernels = {"avx2",     requantize, residual_layernorm, softmax,  quantize,
                            dequantize, add,        linear_f32,         activate, exp_array};

}  // namespace

const RowKernels& rows_avx2() {
  return kernels;
}

}  // namespace qdqbert::engine
