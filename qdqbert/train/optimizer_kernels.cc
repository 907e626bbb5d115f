#include "qdqbert/train/optimizer_kernels.h"

namespace qdqbert::train {

double sum_of_squares(const float* values, int64_t count) {
  // Eight sums side by side: one vector register of doubles or two, the same order everywhere.
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; ++lane)
      sums[lane] += static_cast<double>(values[i + lane]) * static_cast<double>(values[i + lane]);
  for (; i < count; ++i) sums[0] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

void adam_update_torch(const AdamCoefficients& c, int64_t count, const float* __restrict g,
                       float* __restrict p, float* __restrict m, float* __restrict v) {
  for (int64_t i = 0; i < count; ++i) adam_element_torch(c, g[i], p + i, m + i, v + i);
}

void adam_update_library(const AdamCoefficients& c, int64_t count, const float* __restrict g,
                         float* __restrict p, float* __restrict m, float* __restrict v) {
  for (int64_t i = 0; i < count; ++i) adam_element_library(c, g[i], p + i, m + i, v + i);
}

}  // namespace qdqbert::train
