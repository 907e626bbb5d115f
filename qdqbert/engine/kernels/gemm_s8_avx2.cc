// AVX2 has no exact 8-bit dot product (vpmaddubsw saturates), so both sides go through vpmaddwd on 16 bits:
// groups of two k, 8 columns a vector. A is widened once per call and block of K into a buffer that stays in
// L1; the panel holds 8-bit codes, widened on load, so that weights take no more memory than on other ISAs.
// 4 rows x 16 columns: 8 accumulators, 2 widened panel vectors, 1 broadcast, 1 product.
#include <immintrin.h>

#include "qdqbert/engine/kernels/gemm_s8.h"

namespace qdqbert::engine {

namespace {

constexpr size_t kRows = 4;
constexpr size_t kColumns = 32;
constexpr size_t kBlock =
    768;  // 4 rows x 768 x 2 bytes = 6 KB beside a panel slice of 768 x 16 bytes = 12 KB

template <size_t rows>
__attribute__((noinline)) void one(const int16_t* a, size_t lda, const uint8_t* codes, size_t k, int32_t* acc,
                                   size_t ldacc) {
  __m256i sum[rows][2];
#pragma GCC unroll 4
  for (size_t m = 0; m < rows; ++m) {
    sum[m][0] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(acc + m * ldacc));
    sum[m][1] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(acc + m * ldacc + 8));
  }
  for (size_t i = 0; i < k; i += 2) {
    const __m256i b0 = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)));
    const __m256i b1 = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + 16)));
    codes += 2 * kColumns;
#pragma GCC unroll 4
    for (size_t m = 0; m < rows; ++m) {
      int32_t two;
      __builtin_memcpy(&two, a + m * lda + i, 4);
      const __m256i broadcast = _mm256_set1_epi32(two);
      sum[m][0] = _mm256_add_epi32(sum[m][0], _mm256_madd_epi16(broadcast, b0));
      sum[m][1] = _mm256_add_epi32(sum[m][1], _mm256_madd_epi16(broadcast, b1));
    }
  }
#pragma GCC unroll 4
  for (size_t m = 0; m < rows; ++m) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc + m * ldacc), sum[m][0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc + m * ldacc + 8), sum[m][1]);
  }
}

using One = void (*)(const int16_t*, size_t, const uint8_t*, size_t, int32_t*, size_t);
constexpr One kByRows[kRows + 1] = {nullptr, one<1>, one<2>, one<3>, one<4>};

}  // namespace

void gemm_s8_run_avx2(const uint8_t* a, size_t lda, size_t rows, const void* panel, size_t k, int32_t* acc,
                      size_t ldacc) {
  const auto* start = static_cast<const int32_t*>(panel);
  const auto* codes = reinterpret_cast<const uint8_t*>(start + kColumns);
  alignas(32) int16_t wide[kRows * kBlock];
  for (size_t m = 0; m < rows; m += kRows) {
    const size_t now = rows - m < kRows ? rows - m : kRows;
    int32_t* to = acc + m * ldacc;
    for (size_t r = 0; r < now; ++r) __builtin_memcpy(to + r * ldacc, start, kColumns * sizeof(int32_t));
    for (size_t i = 0; i < k; i += kBlock) {
      const size_t length = k - i < kBlock ? k - i : kBlock;
      for (size_t r = 0; r < now; ++r)
        for (size_t j = 0; j < length; j += 16) {
          const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + (m + r) * lda + i + j));
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(wide + r * kBlock + j), _mm256_cvtepi8_epi16(bytes));
        }
      for (size_t half = 0; half < 2; ++half)
        kByRows[now](wide, kBlock, codes + i * kColumns + half * 32, length, to + half * 16, ldacc);
    }
  }
}

}  // namespace qdqbert::engine
