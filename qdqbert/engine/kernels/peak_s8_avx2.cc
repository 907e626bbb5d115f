// vpmaddwd has no accumulator, so its vpaddd belongs to the step; each is 16 multiply-adds. Sums wait for
// vpaddd alone, so eight are enough, and registers are left for operands that change from step to step.
#include <immintrin.h>

#include "qdqbert/engine/kernels/peak_s8.h"

namespace qdqbert::engine {

double peak_s8_avx2(const int8_t* codes, size_t rounds) {
  constexpr size_t kSums = 8, kOperands = 3;
  __m256i sum[kSums];
#pragma GCC unroll 8
  for (size_t j = 0; j < kSums; ++j) sum[j] = _mm256_set1_epi32(1);
  __m256i a[kOperands], b[kOperands];
#pragma GCC unroll 3
  for (size_t j = 0; j < kOperands; ++j) {
    const auto* from = reinterpret_cast<const __m128i*>(codes) + 2 * j;
    a[j] = _mm256_cvtepi8_epi16(_mm_load_si128(from));
    b[j] = _mm256_cvtepi8_epi16(_mm_load_si128(from + 1));
  }
  for (size_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 8
    for (size_t j = 0; j < kSums; ++j) {
      sum[j] = _mm256_add_epi32(sum[j], _mm256_madd_epi16(a[j % kOperands], b[j / 2 % kOperands]));
      asm volatile("" : "+x"(sum[j]), "+x"(a[j % kOperands]));
    }
  }
  return static_cast<double>(rounds * kSums) * 32;
}

}  // namespace qdqbert::engine
