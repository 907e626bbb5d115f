// 2 x 2 tiles: 32 rows x 32 columns, tiles 0-3 accumulate, 4-5 hold A, 6-7 hold B; each step of 64 k loads
// four tiles for four tdpbssd, the best ratio that eight tiles allow. Rows past the end are computed from
// whatever follows in A and not stored, so one tile configuration (gemm_s8_tiles_amxint8.cc)
// serves all calls.
//
// A long K is cut: 768 k of a panel are 24 KB and stay in the first-level cache while the rows of the call
// stream past; the sums wait in acc meanwhile. While the first rows of a cut are at work, the next panel is
// fetched.
#include <immintrin.h>

#include "qdqbert/engine/kernels/gemm_s8.h"

namespace qdqbert::engine {

namespace {

constexpr size_t kColumns = 32;
constexpr size_t kTileBytes = 1024;
constexpr size_t kCut = 768;

inline void copy_rows(const int32_t* from, int32_t* to, size_t ld, size_t rows) {
  for (size_t m = 0; m < rows; ++m) __builtin_memcpy(to + m * ld, from + m * 16, 64);
}

/// Steps of one cut of K. `fetch` is in the next panel, at the place of `codes` in this one; null: nothing to
/// fetch.
inline void multiply_2x2(const uint8_t* a, size_t lda, const uint8_t* codes, size_t k, const uint8_t* fetch) {
  const uint8_t* lower = a + 16 * lda;
  for (size_t i = 0; i < k; i += 64) {
    _tile_loadd(4, a + i, lda);
    _tile_loadd(6, codes, 64);
    _tile_loadd(7, codes + kTileBytes, 64);
    _tile_loadd(5, lower + i, lda);
    codes += 2 * kTileBytes;
    if (fetch) {
      for (size_t line = 0; line < 2 * kTileBytes; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(fetch + line), _MM_HINT_T1);
      fetch += 2 * kTileBytes;
    }
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
}

inline void zero_2x2() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

/// All 32 rows exist. first: the sums begin at zero, else they go on from acc.
void whole_2x2(const uint8_t* a, size_t lda, const uint8_t* codes, size_t k, const uint8_t* fetch, bool first,
               int32_t* acc, size_t ldacc) {
  if (first) {
    zero_2x2();
  } else {
    _tile_loadd(0, acc, ldacc * 4);
    _tile_loadd(1, acc + 16, ldacc * 4);
    _tile_loadd(2, acc + 16 * ldacc, ldacc * 4);
    _tile_loadd(3, acc + 16 * ldacc + 16, ldacc * 4);
  }
  multiply_2x2(a, lda, codes, k, fetch);
  _tile_stored(0, acc, ldacc * 4);
  _tile_stored(1, acc + 16, ldacc * 4);
  _tile_stored(2, acc + 16 * ldacc, ldacc * 4);
  _tile_stored(3, acc + 16 * ldacc + 16, ldacc * 4);
}

/// 17 to 31 rows exist.
void last_2x2(const uint8_t* a, size_t lda, const uint8_t* codes, size_t k, int32_t* acc, size_t ldacc,
              size_t rows) {
  zero_2x2();
  multiply_2x2(a, lda, codes, k, nullptr);
  alignas(64) int32_t spill[256];
  _tile_stored(0, spill, 64);
  copy_rows(spill, acc, ldacc, 16);
  _tile_stored(1, spill, 64);
  copy_rows(spill, acc + 16, ldacc, 16);
  _tile_stored(2, spill, 64);
  copy_rows(spill, acc + 16 * ldacc, ldacc, rows - 16);
  _tile_stored(3, spill, 64);
  copy_rows(spill, acc + 16 * ldacc + 16, ldacc, rows - 16);
}

/// 1 to 16 rows exist.
void last_1x2(const uint8_t* a, size_t lda, const uint8_t* codes, size_t k, int32_t* acc, size_t ldacc,
              size_t rows) {
  _tile_zero(0);
  _tile_zero(1);
  for (size_t i = 0; i < k; i += 64) {
    _tile_loadd(4, a + i, lda);
    _tile_loadd(6, codes, 64);
    _tile_loadd(7, codes + kTileBytes, 64);
    codes += 2 * kTileBytes;
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
  }
  if (rows == 16) {
    _tile_stored(0, acc, ldacc * 4);
    _tile_stored(1, acc + 16, ldacc * 4);
    return;
  }
  alignas(64) int32_t spill[256];
  _tile_stored(0, spill, 64);
  copy_rows(spill, acc, ldacc, rows);
  _tile_stored(1, spill, 64);
  copy_rows(spill, acc + 16, ldacc, rows);
}

}  // namespace

void gemm_s8_run_amxint8(const uint8_t* a, size_t lda, size_t rows, const void* panel, size_t k, int32_t* acc,
                         size_t ldacc) {
  const auto* codes = reinterpret_cast<const uint8_t*>(static_cast<const int32_t*>(panel) + kColumns);
  const size_t panel_bytes = kColumns * (sizeof(int32_t) + k);
  const size_t whole = rows / 32 * 32;
  for (size_t i = 0; i < k; i += kCut) {
    const size_t length = k - i < kCut ? k - i : kCut;
    const uint8_t* here = codes + i * kColumns;
    for (size_t m = 0; m < whole; m += 32)
      whole_2x2(a + m * lda + i, lda, here, length, m == 0 && whole > 32 ? here + panel_bytes : nullptr,
                i == 0, acc + m * ldacc, ldacc);
  }
  const size_t rest = rows - whole;
  a += whole * lda;
  acc += whole * ldacc;
  if (rest > 16) {
    last_2x2(a, lda, codes, k, acc, ldacc, rest);
  } else if (rest > 0) {
    last_1x2(a, lda, codes, k, acc, ldacc, rest);
  }
}

}  // namespace qdqbert::engine
