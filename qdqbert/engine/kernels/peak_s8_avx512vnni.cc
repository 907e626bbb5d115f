// Twenty sums hide a latency of up to ten cycles at two vpdpbusd a cycle; each is 64 multiply-adds.
#include <immintrin.h>

#include "qdqbert/engine/kernels/peak_s8.h"

namespace qdqbert::engine {

double peak_s8_avx512vnni(size_t rounds) {
  constexpr size_t kSums = 20;
  __m512i sum[kSums];
#pragma GCC unroll 20
  for (size_t j = 0; j < kSums; ++j) sum[j] = _mm512_set1_epi32(1);
  __m512i a = _mm512_set1_epi32(0x01020304), b = _mm512_set1_epi32(0x04030201);
  for (size_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 20
    for (size_t j = 0; j < kSums; ++j) {
      sum[j] = _mm512_dpbusd_epi32(sum[j], a, b);
      asm volatile("" : "+v"(sum[j]), "+v"(a));
    }
  }
  return static_cast<double>(rounds * kSums) * 128;
}

}  // namespace qdqbert::engine
