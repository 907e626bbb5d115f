// 6 rows x 16 columns at a time: 12 accumulators, 2 panel vectors and 1 broadcast fill 15 of 16 registers. A
// panel of 32 columns is done in two halves.
#include <immintrin.h>

#include "qdqbert/engine/kernels/gemm_s8.h"

namespace qdqbert::engine {

namespace {

constexpr size_t kRows = 6;
constexpr size_t kColumns = 32;

template <size_t rows>
__attribute__((noinline)) void one(const uint8_t* a, size_t lda, const int32_t* start, size_t half, size_t k,
                                   int32_t* acc, size_t ldacc) {
  const auto* codes = reinterpret_cast<const uint8_t*>(start + kColumns) + half * 64;
  start += half * 16;
  __m256i sum[rows][2];
#pragma GCC unroll 6
  for (size_t m = 0; m < rows; ++m) {
    sum[m][0] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(start));
    sum[m][1] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(start + 8));
  }
  const uint8_t* a0 = a;
  const uint8_t* a1 = a + 3 * lda;
  for (size_t i = 0; i < k; i += 4) {
    const __m256i b0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
    const __m256i b1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + 32));
    codes += 128;
#pragma GCC unroll 6
    for (size_t m = 0; m < rows; ++m) {
      int32_t four;
      __builtin_memcpy(&four, (m < 3 ? a0 : a1) + (m % 3) * lda, 4);
      const __m256i broadcast = _mm256_set1_epi32(four);
      sum[m][0] = _mm256_dpbusd_avx_epi32(sum[m][0], broadcast, b0);
      sum[m][1] = _mm256_dpbusd_avx_epi32(sum[m][1], broadcast, b1);
    }
    a0 += 4;
    a1 += 4;
  }
#pragma GCC unroll 6
  for (size_t m = 0; m < rows; ++m) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc + m * ldacc + half * 16), sum[m][0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc + m * ldacc + half * 16 + 8), sum[m][1]);
  }
}

using One = void (*)(const uint8_t*, size_t, const int32_t*, size_t, size_t, int32_t*, size_t);
constexpr One kByRows[kRows + 1] = {nullptr, one<1>, one<2>, one<3>, one<4>, one<5>, one<6>};

}  // namespace

void gemm_s8_run_avxvnni(const uint8_t* a, size_t lda, size_t rows, const void* panel, size_t k, int32_t* acc,
                         size_t ldacc) {
  const auto* start = static_cast<const int32_t*>(panel);
  for (size_t half = 0; half < 2; ++half)
    for (size_t m = 0; m < rows; m += kRows) {
      const size_t now = rows - m < kRows ? rows - m : kRows;
      kByRows[now](a + m * lda, lda, start, half, k, acc + m * ldacc, ldacc);
    }
}

}  // namespace qdqbert::engine
