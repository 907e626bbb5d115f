// vpmaddwd has no accumulator, so its vpaddd belongs to the step; each is 16 multiply-adds.
#include <immintrin.h>

#include "qdqbert/engine/kernels/peak_s8.h"

namespace qdqbert::engine {

double peak_s8_avx2(size_t rounds) {
  constexpr size_t kSums = 12;
  __m256i sum[kSums];
#pragma GCC unroll 12
  for (size_t j = 0; j < kSums; ++j) sum[j] = _mm256_set1_epi32(1);
  __m256i a = _mm256_set1_epi32(0x01020304), b = _mm256_set1_epi32(0x04030201);
  for (size_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (size_t j = 0; j < kSums; ++j) {
      sum[j] = _mm256_add_epi32(sum[j], _mm256_madd_epi16(a, b));
      asm volatile("" : "+x"(sum[j]), "+x"(a));
    }
  }
  return static_cast<double>(rounds * kSums) * 32;
}

}  // namespace qdqbert::engine
