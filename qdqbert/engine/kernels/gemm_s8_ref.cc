#include "qdqbert/engine/kernels/gemm_s8.h"

namespace qdqbert::engine {

namespace {

constexpr size_t kColumns = 32;
constexpr size_t kGroup = 4;

}  // namespace

void gemm_s8_run_ref(const uint8_t* a, size_t lda, size_t rows, const void* panel, size_t k, int32_t* acc,
                     size_t ldacc) {
  const auto* start = static_cast<const int32_t*>(panel);
  const auto* codes = reinterpret_cast<const int8_t*>(start + kColumns);
  for (size_t m = 0; m < rows; ++m) {
    const auto* row = reinterpret_cast<const int8_t*>(a + m * lda);
    int32_t sum[kColumns];
    for (size_t n = 0; n < kColumns; ++n) sum[n] = start[n];
    const int8_t* group = codes;
    for (size_t i = 0; i < k; i += kGroup, group += kColumns * kGroup)
      for (size_t n = 0; n < kColumns; ++n)
        for (size_t j = 0; j < kGroup; ++j) sum[n] += row[i + j] * group[n * kGroup + j];
    for (size_t n = 0; n < kColumns; ++n) acc[m * ldacc + n] = sum[n];
  }
}

}  // namespace qdqbert::engine
