// 12 rows x 32 columns: 24 accumulators, 2 panel vectors and 1 broadcast leave 5 of 32 registers free. Each
// step of 4 k does 24 vpdpbusd for 14 loads; two of each fit in a cycle, so the dot products are the limit.
#include <immintrin.h>

#include "qdqbert/engine/kernels/gemm_s8.h"

namespace qdqbert::engine {

namespace {

constexpr size_t kRows = 12;
constexpr size_t kColumns = 32;

template <size_t rows, bool first>
inline __attribute__((always_inline)) void tile(const uint8_t* a, size_t lda, const int32_t* start, size_t k,
                                                int32_t* acc, size_t ldacc) {
  const auto* codes = reinterpret_cast<const uint8_t*>(start + kColumns);
  const size_t ahead = kColumns * (k + 4);
  __m512i sum[rows][2];
  const __m512i start0 = _mm512_loadu_si512(start);
  const __m512i start1 = _mm512_loadu_si512(start + 16);
#pragma GCC unroll 12
  for (size_t m = 0; m < rows; ++m) {
    sum[m][0] = start0;
    sum[m][1] = start1;
  }
  // Four row pointers, three rows each: keeps every address in base + {0,1,2} * lda form.
  const uint8_t* a0 = a;
  const uint8_t* a1 = a + 3 * lda;
  const uint8_t* a2 = a + 6 * lda;
  const uint8_t* a3 = a + 9 * lda;
  for (size_t i = 0; i < k; i += 4) {
    const __m512i b0 = _mm512_loadu_si512(codes);
    const __m512i b1 = _mm512_loadu_si512(codes + 64);
    if (first) {
      _mm_prefetch(codes + ahead, _MM_HINT_T1);
      _mm_prefetch(codes + ahead + 64, _MM_HINT_T1);
    }
    codes += 128;
#pragma GCC unroll 12
    for (size_t m = 0; m < rows; ++m) {
      const uint8_t* base = m < 3 ? a0 : m < 6 ? a1 : m < 9 ? a2 : a3;
      int32_t four;
      __builtin_memcpy(&four, base + (m % 3) * lda, 4);
      const __m512i broadcast = _mm512_set1_epi32(four);
      sum[m][0] = _mm512_dpbusd_epi32(sum[m][0], broadcast, b0);
      sum[m][1] = _mm512_dpbusd_epi32(sum[m][1], broadcast, b1);
    }
    a0 += 4;
    a1 += 4;
    a2 += 4;
    a3 += 4;
  }
#pragma GCC unroll 12
  for (size_t m = 0; m < rows; ++m) {
    _mm512_storeu_si512(acc + m * ldacc, sum[m][0]);
    _mm512_storeu_si512(acc + m * ldacc + 16, sum[m][1]);
  }
}

template <size_t rows, bool first>
__attribute__((noinline)) void one(const uint8_t* a, size_t lda, const int32_t* panel, size_t k, int32_t* acc,
                                   size_t ldacc) {
  tile<rows, first>(a, lda, panel, k, acc, ldacc);
}

using One = void (*)(const uint8_t*, size_t, const int32_t*, size_t, int32_t*, size_t);
template <bool first>
constexpr One kByRows[kRows + 1] = {
    nullptr,       one<1, first>, one<2, first>, one<3, first>,  one<4, first>,  one<5, first>, one<6, first>,
    one<7, first>, one<8, first>, one<9, first>, one<10, first>, one<11, first>, one<12, first>};

}  // namespace

void gemm_s8_run_avx512vnni(const uint8_t* a, size_t lda, size_t rows, const void* panel, size_t k,
                            int32_t* acc, size_t ldacc) {
  const auto* start = static_cast<const int32_t*>(panel);
  for (bool first = true; rows > 0; first = false) {
    const size_t now = rows < kRows ? rows : kRows;
    (first ? kByRows<true>[now] : kByRows<false>[now])(a, lda, start, k, acc, ldacc);
    a += now * lda;
    acc += now * ldacc;
    rows -= now;
  }
}

}  // namespace qdqbert::engine
