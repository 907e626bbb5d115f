// Twelve sums hide a latency of six cycles at two vpdpbusd a cycle; each is 32 multiply-adds. The four
// registers left hold operands that change from step to step.
#include <immintrin.h>

#include "qdqbert/engine/kernels/peak_s8.h"

namespace qdqbert::engine {

double peak_s8_avxvnni(const int8_t* codes, size_t rounds) {
  constexpr size_t kSums = 12;
  __m256i sum[kSums];
#pragma GCC unroll 12
  for (size_t j = 0; j < kSums; ++j) sum[j] = _mm256_set1_epi32(1);
  __m256i a[2], b[2];
  for (size_t j = 0; j < 2; ++j) {
    const auto* from = reinterpret_cast<const __m256i*>(codes) + 2 * j;
    a[j] = _mm256_load_si256(from);
    b[j] = _mm256_load_si256(from + 1);
  }
  for (size_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (size_t j = 0; j < kSums; ++j) {
      sum[j] = _mm256_dpbusd_avx_epi32(sum[j], a[j % 2], b[j / 2 % 2]);
      asm volatile("" : "+x"(sum[j]));
    }
  }
  return static_cast<double>(rounds * kSums) * 64;
}

}  // namespace qdqbert::engine
