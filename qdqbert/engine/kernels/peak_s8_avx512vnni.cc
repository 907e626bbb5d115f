// Twenty sums hide a latency of up to ten cycles at two vpdpbusd a cycle; each is 64 multiply-adds. Operands
// change from step to step.
#include <immintrin.h>

#include "qdqbert/engine/kernels/peak_s8.h"

namespace qdqbert::engine {

double peak_s8_avx512vnni(const int8_t* codes, size_t rounds) {
  constexpr size_t kSums = 20, kOperands = 4;
  __m512i sum[kSums];
#pragma GCC unroll 20
  for (size_t j = 0; j < kSums; ++j) sum[j] = _mm512_set1_epi32(1);
  __m512i a[kOperands], b[kOperands];
  for (size_t j = 0; j < kOperands; ++j) {
    a[j] = _mm512_load_si512(codes + 128 * j);
    b[j] = _mm512_load_si512(codes + 128 * j + 64);
  }
  for (size_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 20
    for (size_t j = 0; j < kSums; ++j) {
      sum[j] = _mm512_dpbusd_epi32(sum[j], a[j % kOperands], b[j / kOperands % kOperands]);
      asm volatile("" : "+v"(sum[j]));
    }
  }
  return static_cast<double>(rounds * kSums) * 128;
}

}  // namespace qdqbert::engine
