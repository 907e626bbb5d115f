// AVX2 has no exact 8-bit dot product (vpmaddubsw saturates), so both sides go through vpmaddwd on 16 bits.
// The panel holds 8-bit codes, so that weights take no more memory than on other ISAs; a block of it is
// widened once per call, into a buffer that all rows of the call read from the first-level cache. Of four k,
// the even two and the odd two make the pairs: they come out of a 16-bit lane by shifts alone. 6 rows x 16
// columns: 12 accumulators, 2 panel vectors, 1 broadcast, 1 product fill the 16 registers.
#include <immintrin.h>

#include "qdqbert/engine/kernels/gemm_s8.h"

namespace qdqbert::engine {

namespace {

constexpr size_t kRows = 6;
constexpr size_t kColumns = 32;
constexpr size_t kBlock = 256;  // k of a widened block: 16 KB of panel beside 3 KB of A
constexpr size_t kPairs = kBlock / 2;
constexpr size_t kHalf = kPairs * 32;  // 16-bit values of a widened half of 16 columns

using V = __m256i;

inline V load(const void* p) {
  return _mm256_loadu_si256(static_cast<const V*>(p));
}
inline void store(void* p, V v) {
  _mm256_storeu_si256(static_cast<V*>(p), v);
}
inline V even(V codes) {
  return _mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 8);
}
inline V odd(V codes) {
  return _mm256_srai_epi16(codes, 8);
}

/// For each half of 16 columns: the even pairs of all groups, then the odd pairs.
void widen_panel(const uint8_t* codes, size_t groups, int16_t* wide) {
  for (size_t g = 0; g < groups; ++g)
    for (size_t half = 0; half < 2; ++half) {
      const V first = load(codes + g * 128 + half * 64), second = load(codes + g * 128 + half * 64 + 32);
      int16_t* to = wide + half * kHalf + g * 32;
      store(to, even(first));
      store(to + 16, even(second));
      store(to + groups * 32, odd(first));
      store(to + groups * 32 + 16, odd(second));
    }
}

/// For each row: the even pairs, then the odd pairs.
void widen_rows(const uint8_t* a, size_t lda, size_t rows, size_t groups, int32_t* wide) {
  for (size_t r = 0; r < rows; ++r)
    for (size_t g = 0; g < groups; g += 8) {
      const V codes = load(a + r * lda + g * 4);
      store(wide + r * kPairs + g, even(codes));
      store(wide + r * kPairs + groups + g, odd(codes));
    }
}

template <size_t rows>
__attribute__((noinline)) void tile(const int32_t* a, const int16_t* b, size_t pairs, const int32_t* from,
                                    size_t ldfrom, int32_t* acc, size_t ldacc) {
  V sum[rows][2];
#pragma GCC unroll 6
  for (size_t m = 0; m < rows; ++m) {
    sum[m][0] = load(from + m * ldfrom);
    sum[m][1] = load(from + m * ldfrom + 8);
  }
  for (size_t i = 0; i < pairs; ++i) {
    const V b0 = load(b), b1 = load(b + 16);
    b += 32;
#pragma GCC unroll 6
    for (size_t m = 0; m < rows; ++m) {
      const V broadcast = _mm256_set1_epi32(a[m * kPairs + i]);
      sum[m][0] = _mm256_add_epi32(sum[m][0], _mm256_madd_epi16(broadcast, b0));
      sum[m][1] = _mm256_add_epi32(sum[m][1], _mm256_madd_epi16(broadcast, b1));
    }
  }
#pragma GCC unroll 6
  for (size_t m = 0; m < rows; ++m) {
    store(acc + m * ldacc, sum[m][0]);
    store(acc + m * ldacc + 8, sum[m][1]);
  }
}

using Tile = void (*)(const int32_t*, const int16_t*, size_t, const int32_t*, size_t, int32_t*, size_t);
constexpr Tile kByRows[kRows + 1] = {nullptr, tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>};

}  // namespace

void gemm_s8_run_avx2(const uint8_t* a, size_t lda, size_t rows, const void* panel, size_t k, int32_t* acc,
                      size_t ldacc) {
  const auto* start = static_cast<const int32_t*>(panel);
  const auto* codes = reinterpret_cast<const uint8_t*>(start + kColumns);
  alignas(64) int16_t wide_panel[2 * kHalf];
  alignas(64) int32_t wide_rows[kRows * kPairs];
  for (size_t i = 0; i < k; i += kBlock) {
    const size_t length = k - i < kBlock ? k - i : kBlock;
    widen_panel(codes + i * kColumns, length / 4, wide_panel);
    for (size_t m = 0; m < rows; m += kRows) {
      const size_t now = rows - m < kRows ? rows - m : kRows;
      widen_rows(a + m * lda + i, lda, now, length / 4, wide_rows);
      for (size_t half = 0; half < 2; ++half) {
        int32_t* to = acc + m * ldacc + half * 16;
        kByRows[now](wide_rows, wide_panel + half * kHalf, length / 2, i == 0 ? start + half * 16 : to,
                     i == 0 ? 0 : ldacc, to, ldacc);
      }
    }
  }
}

}  // namespace qdqbert::engine
