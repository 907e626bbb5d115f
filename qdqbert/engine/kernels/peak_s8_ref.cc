#include <cstdint>

#include "qdqbert/engine/kernels/peak_s8.h"

namespace qdqbert::engine {

double peak_s8_ref(const int8_t* codes, size_t rounds) {
  // Unsigned, because the sums go round.
  uint32_t sum[4] = {0, 0, 0, 0};
  int32_t a[2] = {codes[0], codes[1]}, b[2] = {codes[2], codes[3]};
  for (size_t i = 0; i < rounds; ++i)
    for (size_t j = 0; j < 4; ++j) {
      asm volatile("" : "+r"(a[j % 2]), "+r"(b[j / 2]), "+r"(sum[j]));
      sum[j] += static_cast<uint32_t>(a[j % 2] * b[j / 2]);
    }
  asm volatile("" : : "r"(sum[0] + sum[1] + sum[2] + sum[3]));
  return static_cast<double>(rounds) * 4 * 2;
}

}  // namespace qdqbert::engine
