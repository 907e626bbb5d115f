#include <immintrin.h>

#include "qdqbert/engine/kernels/pack_s8.h"

namespace qdqbert::engine {

namespace {

using V = __m512i;

/// Pairs of k: at most 256 each, so 16 groups fit into 16 bits.
inline V sum_of_pairs(V codes) {
  return _mm512_maddubs_epi16(_mm512_set1_epi8(1), codes);
}

inline void add_pairs(int32_t* sums, V pairs) {
  _mm512_storeu_si512(
      sums, _mm512_add_epi32(_mm512_loadu_si512(sums), _mm512_madd_epi16(pairs, _mm512_set1_epi16(1))));
}

inline V load32(const int8_t* p) {
  return _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

}  // namespace

void pack_s8_rows_avx512(const int8_t* b, size_t ld, size_t group_stride, size_t half_stride, int8_t* codes,
                         int32_t* sums) {
  // 128-bit lanes of two rows side by side: columns 0-15 of both, then columns 16-31.
  const V lanes = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
  V pairs0 = _mm512_setzero_si512(), pairs1 = pairs0;
  for (size_t g = 0; g < 16; ++g) {
    const int8_t* row = b + 4 * g * ld;
    const V even = _mm512_permutex2var_epi64(load32(row), lanes, load32(row + 2 * ld));
    const V odd = _mm512_permutex2var_epi64(load32(row + ld), lanes, load32(row + 3 * ld));
    // Lanes: k 0-1 of the first half, k 2-3 of the first half, the same of the second half; columns 0-7,
    // 8-15.
    const V low = _mm512_unpacklo_epi8(even, odd), high = _mm512_unpackhi_epi8(even, odd);
    // Bring k 0-1 and k 2-3 of the same columns together: lanes columns 0-7, 8-15 of each half.
    const V first = _mm512_permutex2var_epi64(low, _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0), high);
    const V second = _mm512_permutex2var_epi64(low, _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2), high);
    const V u0 = _mm512_unpacklo_epi16(first, second), u1 = _mm512_unpackhi_epi16(first, second);
    // u0: columns 0-3, 8-11, 16-19, 24-27; u1: columns 4-7, 12-15, 20-23, 28-31.
    const V half0 = _mm512_permutex2var_epi64(u0, _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), u1);
    const V half1 = _mm512_permutex2var_epi64(u0, _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4), u1);
    int8_t* to = codes + g * group_stride;
    _mm512_storeu_si512(to, half0);
    _mm512_storeu_si512(to + half_stride, half1);
    pairs0 = _mm512_add_epi16(pairs0, sum_of_pairs(half0));
    pairs1 = _mm512_add_epi16(pairs1, sum_of_pairs(half1));
  }
  add_pairs(sums, pairs0);
  add_pairs(sums + 16, pairs1);
}

void pack_s8_columns_avx512(const int8_t* b, size_t ld, size_t group_stride, size_t half_stride,
                            int8_t* codes, int32_t* sums) {
  for (size_t half = 0; half < 2; ++half) {
    const int8_t* from = b + 16 * half * ld;
    int8_t* to = codes + half * half_stride;
    // Transposes 16 columns of 16 groups.
    V c[16], t[16];
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; ++i) c[i] = _mm512_loadu_si512(from + i * ld);
#pragma GCC unroll 8
    for (size_t i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_epi32(c[i], c[i + 1]);
      t[i + 1] = _mm512_unpackhi_epi32(c[i], c[i + 1]);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 16; i += 4) {
      c[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
      c[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
      c[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
      c[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // c[4 j + i]: columns 4 j to 4 j + 3 of groups i, 4 + i, 8 + i, 12 + i.
    V pairs = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) {
      const V a = _mm512_shuffle_i32x4(c[i], c[4 + i], 0x88), d = _mm512_shuffle_i32x4(c[i], c[4 + i], 0xdd);
      const V e = _mm512_shuffle_i32x4(c[8 + i], c[12 + i], 0x88),
              f = _mm512_shuffle_i32x4(c[8 + i], c[12 + i], 0xdd);
      const V group[4] = {_mm512_shuffle_i32x4(a, e, 0x88), _mm512_shuffle_i32x4(d, f, 0x88),
                          _mm512_shuffle_i32x4(a, e, 0xdd), _mm512_shuffle_i32x4(d, f, 0xdd)};
#pragma GCC unroll 4
      for (size_t j = 0; j < 4; ++j) {
        _mm512_storeu_si512(to + (4 * j + i) * group_stride, group[j]);
        pairs = _mm512_add_epi16(pairs, sum_of_pairs(group[j]));
      }
    }
    add_pairs(sums + 16 * half, pairs);
  }
}

}  // namespace qdqbert::engine
