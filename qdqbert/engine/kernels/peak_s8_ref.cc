#include <cstdint>

#include "qdqbert/engine/kernels/peak_s8.h"

namespace qdqbert::engine {

double peak_s8_ref(size_t rounds) {
  int32_t sum[4] = {0, 0, 0, 0};
  int32_t a = 3, b = 5;
  for (size_t i = 0; i < rounds; ++i)
    for (int32_t& s : sum) {
      asm volatile("" : "+r"(a), "+r"(b), "+r"(s));
      s += a * b;
    }
  asm volatile("" : : "r"(sum[0] + sum[1] + sum[2] + sum[3]));
  return static_cast<double>(rounds) * 4 * 2;
}

}  // namespace qdqbert::engine
