// The multiplication of gemm_s8_amxint8.cc and the requantization in one loop: while the tile unit works on
// 32 x 32 sums, the vector ports requantize the 32 x 32 before.
//
// 32 rows of A stay in the first-level cache and the panels stream past from the second-level one, by loads
// that do not displace A. Each instruction on tiles closes one of the two ports for fused multiply-adds for
// some 140 cycles, so what is requantized meanwhile is bound by the other: operations that avoid it are worth
// more here than few operations.
#include <immintrin.h>

#include "qdqbert/engine/kernels/gemm_s8.h"

namespace qdqbert::engine {

namespace {

constexpr bool kOneMultiplier = true;
#include "qdqbert/engine/kernels/lanes_avx512.inc"
#include "qdqbert/engine/kernels/requantize_generic.inc"

constexpr size_t kColumns = 32, kRows = 32;
constexpr size_t kTileBytes = 1024;
/// Bytes of a row of which 32 stay in the first-level cache.
constexpr size_t kLongestKept = 1024;
/// Rows of one unit of requantization, with kVectors vectors each.
constexpr size_t kUnitRows = 2;

/// 32 x 32 sums that wait to be requantized.
template <Activation kind, bool clips, bool small>
struct Waiting {
  const int32_t* acc;
  uint8_t* codes;
  size_t ldcodes, rows;
  uint8_t flip;
  F clip;
  ColumnConstants columns[kVectors];

  INLINE void unit() {
    requantize_tile<kind, clips, kUnitRows, kVectors, small>(acc, kColumns, columns, clip, codes, ldcodes,
                                                             flip);
    acc += kUnitRows * kColumns;
    codes += kUnitRows * ldcodes;
    rows -= kUnitRows;
  }
  INLINE void rest() {
    while (rows >= kUnitRows) unit();
    if (rows > 0)
      requantize_tile<kind, clips, 1, kVectors, small>(acc, kColumns, columns, clip, codes, ldcodes, flip);
    rows = 0;
  }
};

/// `streams`: rows of A are too long to stay in the first-level cache.
INLINE void load_2x2(const uint8_t* a, size_t lda, const uint8_t* codes, bool streams) {
  if (streams) {
    _tile_stream_loadd(4, a, lda);
  } else {
    _tile_loadd(4, a, lda);
  }
  _tile_stream_loadd(6, codes, 64);
  _tile_stream_loadd(7, codes + kTileBytes, 64);
  if (streams) {
    _tile_stream_loadd(5, a + 16 * lda, lda);
  } else {
    _tile_loadd(5, a + 16 * lda, lda);
  }
}

INLINE void multiply_2x2() {
  _tile_dpbssd(0, 4, 6);
  _tile_dpbssd(1, 4, 7);
  _tile_dpbssd(2, 5, 6);
  _tile_dpbssd(3, 5, 7);
}

INLINE void load_1x2(const uint8_t* a, size_t lda, const uint8_t* codes) {
  _tile_loadd(4, a, lda);
  _tile_stream_loadd(6, codes, 64);
  _tile_stream_loadd(7, codes + kTileBytes, 64);
}

INLINE void multiply_1x2() {
  _tile_dpbssd(0, 4, 6);
  _tile_dpbssd(1, 4, 7);
}

/// No y can be so large that its code needs a bound: |acc| <= k * 2^14.
bool small_codes(const RequantizeArgs& to, size_t k) {
  const F largest = f_set(static_cast<float>(k) * 16384.0f);
  __mmask16 large = 0;
  for (size_t n = 0; n < to.n; n += 16) {
    const F y = f_fma(largest, f_abs(f_load(to.scale + n)), f_abs(f_load(to.bias + n)));
    // Also where anything is NaN.
    large |= _mm512_cmp_ps_mask(f_mul(y, f_abs(f_load(to.inverse + n))), f_set(0x1p30f), _CMP_NLT_UQ);
  }
  return large == 0;
}

INLINE void fetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

template <Activation kind, bool clips, bool small>
void multiply(const uint8_t* a, size_t lda, const void* panels, size_t k, int32_t* acc, const Ahead& ahead,
              const RequantizeArgs& to) {
  const size_t panel_bytes = kColumns * (sizeof(int32_t) + k), steps = k / 64;
  Waiting<kind, clips, small> waiting{acc, to.codes, to.ldcodes, 0, to.flip, f_set(to.clip), {}};
  size_t other = 0;
  const bool streams = k > kLongestKept;
  // Fetched meanwhile, a few lines a step: the next rows of A, and what comes behind this call.
  const size_t count = to.n / kColumns, all_steps = (to.rows + kRows - 1) / kRows * count * steps;
  const auto* soon = static_cast<const uint8_t*>(ahead.data);
  const size_t soon_lines = ahead.bytes / 64, soon_per_step = (soon_lines + all_steps - 1) / all_steps;
  const uint8_t* const soon_end = soon + soon_lines * 64;
  for (size_t m = 0; m < to.rows; m += kRows) {
    const size_t rows = to.rows - m < kRows ? to.rows - m : kRows;
    const bool high = rows > 16;
    for (size_t n = 0; n < to.n; n += kColumns) {
      const auto* codes =
          static_cast<const uint8_t*>(panels) + n / kColumns * panel_bytes + kColumns * sizeof(int32_t);
      const uint8_t* from = a + m * lda;
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      // Units are spread evenly over the steps.
      const size_t units = waiting.rows / kUnitRows;
      size_t due = 0;
      const size_t panel = n / kColumns, next_rows = to.rows - m > kRows ? kRows : 0;
      const uint8_t* next = from + (kRows + next_rows * panel / count) * lda;
      const uint8_t* const next_end = from + (kRows + next_rows * (panel + 1) / count) * lda;
      for (size_t i = 0; i < steps; ++i) {
        // The tiles come from the second-level cache; units between loads and products hide its latency.
        if (high) {
          load_2x2(from, lda, codes, streams);
        } else {
          load_1x2(from, lda, codes);
        }
        for (due += units; due >= steps; due -= steps) waiting.unit();
        for (const uint8_t* row = next + i * 64; row < next_end; row += lda) fetch(row);
        for (size_t line = 0; line < soon_per_step && soon < soon_end; ++line, soon += 64) fetch(soon);
        if (high) {
          multiply_2x2();
        } else {
          multiply_1x2();
        }
        from += 64;
        codes += 2 * kTileBytes;
      }
      waiting.rest();
      int32_t* sums = acc + other;
      _tile_stored(0, sums, kColumns * 4);
      _tile_stored(1, sums + 16, kColumns * 4);
      if (high) {
        _tile_stored(2, sums + 16 * kColumns, kColumns * 4);
        _tile_stored(3, sums + 16 * kColumns + 16, kColumns * 4);
      }
      other = kRows * kColumns - other;
      waiting.acc = sums;
      waiting.codes = to.codes + m * to.ldcodes + n;
      waiting.rows = rows;
      load_constants<kVectors>(to, n, waiting.columns);
    }
  }
  waiting.rest();
}

}  // namespace

void gemm_s8_requantize_amxint8(const uint8_t* a, size_t lda, const void* panels, size_t k, int32_t* scratch,
                                const Ahead& ahead, const RequantizeArgs& to) {
  const bool small = small_codes(to, k);
  with_activation(to, [&]<Activation kind, bool clips>() {
    // Activations that never make a value larger.
    if constexpr (kind == Activation::kNone || kind == Activation::kGelu || kind == Activation::kRelu)
      if (small) return multiply<kind, clips, true>(a, lda, panels, k, scratch, ahead, to);
    multiply<kind, clips, false>(a, lda, panels, k, scratch, ahead, to);
  });
}

}  // namespace qdqbert::engine
