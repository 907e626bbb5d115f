#include <immintrin.h>

#include "qdqbert/engine/kernels/pack_s8.h"

namespace qdqbert::engine {

namespace {

using V = __m256i;

inline V load(const void* p) {
  return _mm256_loadu_si256(static_cast<const V*>(p));
}
inline void store(void* p, V v) {
  _mm256_storeu_si256(static_cast<V*>(p), v);
}

/// Sums of the four k of each of 8 columns.
inline V sum_of_groups(V codes) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), codes), _mm256_set1_epi16(1));
}

inline void put(int8_t* to, V low, V high, V* sums) {
  store(to, low);
  store(to + 32, high);
  sums[0] = _mm256_add_epi32(sums[0], sum_of_groups(low));
  sums[1] = _mm256_add_epi32(sums[1], sum_of_groups(high));
}

}  // namespace

void pack_s8_rows_avx2(const int8_t* b, size_t ld, size_t group_stride, size_t half_stride, int8_t* codes,
                       int32_t* sums) {
  V sum[4];
  for (size_t i = 0; i < 4; ++i) sum[i] = load(sums + 8 * i);
  for (size_t g = 0; g < 16; ++g) {
    const int8_t* row = b + 4 * g * ld;
    const V r0 = load(row), r1 = load(row + ld), r2 = load(row + 2 * ld), r3 = load(row + 3 * ld);
    const V low01 = _mm256_unpacklo_epi8(r0, r1), high01 = _mm256_unpackhi_epi8(r0, r1);
    const V low23 = _mm256_unpacklo_epi8(r2, r3), high23 = _mm256_unpackhi_epi8(r2, r3);
    // Columns 0-3 and 16-19, 4-7 and 20-23, and so on.
    const V u0 = _mm256_unpacklo_epi16(low01, low23), u1 = _mm256_unpackhi_epi16(low01, low23);
    const V u2 = _mm256_unpacklo_epi16(high01, high23), u3 = _mm256_unpackhi_epi16(high01, high23);
    int8_t* to = codes + g * group_stride;
    put(to, _mm256_permute2x128_si256(u0, u1, 0x20), _mm256_permute2x128_si256(u2, u3, 0x20), sum);
    put(to + half_stride, _mm256_permute2x128_si256(u0, u1, 0x31), _mm256_permute2x128_si256(u2, u3, 0x31),
        sum + 2);
  }
  for (size_t i = 0; i < 4; ++i) store(sums + 8 * i, sum[i]);
}

void pack_s8_columns_avx2(const int8_t* b, size_t ld, size_t group_stride, size_t half_stride, int8_t* codes,
                          int32_t* sums) {
  for (size_t eight = 0; eight < 4; ++eight) {
    V sum = load(sums + 8 * eight);
    for (size_t part = 0; part < 2; ++part) {
      const int8_t* from = b + 8 * eight * ld + 32 * part;
      int8_t* to = codes + 8 * part * group_stride + eight / 2 * half_stride + eight % 2 * 32;
      // Transposes 8 columns of 8 groups.
      V c[8], t[8];
#pragma GCC unroll 8
      for (size_t i = 0; i < 8; ++i) c[i] = load(from + i * ld);
#pragma GCC unroll 4
      for (size_t i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(c[i], c[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(c[i], c[i + 1]);
      }
#pragma GCC unroll 2
      for (size_t i = 0; i < 8; i += 4) {
        c[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        c[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        c[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        c[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
      }
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; ++i) {
        const V low = _mm256_permute2x128_si256(c[i], c[i + 4], 0x20);
        const V high = _mm256_permute2x128_si256(c[i], c[i + 4], 0x31);
        store(to + i * group_stride, low);
        store(to + (i + 4) * group_stride, high);
        sum = _mm256_add_epi32(sum, _mm256_add_epi32(sum_of_groups(low), sum_of_groups(high)));
      }
    }
    store(sums + 8 * eight, sum);
  }
}

}  // namespace qdqbert::engine
