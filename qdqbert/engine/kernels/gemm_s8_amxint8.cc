// 2 x 2 tiles: 32 rows x 32 columns, tiles 0-3 accumulate, 4-5 hold A, 6-7 hold B; each step of 64 k loads
// four tiles for four tdpbssd, the best ratio that eight tiles allow. Rows past the end are computed from
// whatever follows in A and not stored, so one tile configuration serves all calls.
#include <immintrin.h>

#include "qdqbert/engine/kernels/gemm_s8.h"

namespace qdqbert::engine {

namespace {

constexpr size_t kColumns = 32;
constexpr size_t kTileBytes = 1024;

struct alignas(64) TileConfig {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

inline void copy_rows(const int32_t* from, int32_t* to, size_t ld, size_t rows) {
  for (size_t m = 0; m < rows; ++m) {
    _mm512_storeu_si512(to + m * ld, _mm512_load_si512(from + m * 16));
  }
}

void block_2x2(const uint8_t* a, size_t lda, const int32_t* start, size_t k, int32_t* acc, size_t ldacc,
               size_t rows) {
  const auto* codes = reinterpret_cast<const uint8_t*>(start + kColumns);
  const uint8_t* lower = a + 16 * lda;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (size_t i = 0; i < k; i += 64) {
    _tile_loadd(4, a + i, lda);
    _tile_loadd(6, codes, 64);
    _tile_loadd(7, codes + kTileBytes, 64);
    _tile_loadd(5, lower + i, lda);
    codes += 2 * kTileBytes;
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  if (rows >= 32) {
    _tile_stored(0, acc, ldacc * 4);
    _tile_stored(1, acc + 16, ldacc * 4);
    _tile_stored(2, acc + 16 * ldacc, ldacc * 4);
    _tile_stored(3, acc + 16 * ldacc + 16, ldacc * 4);
    return;
  }
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

void block_1x2(const uint8_t* a, size_t lda, const int32_t* start, size_t k, int32_t* acc, size_t ldacc,
               size_t rows) {
  const auto* codes = reinterpret_cast<const uint8_t*>(start + kColumns);
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
  alignas(64) int32_t spill[256];
  _tile_stored(0, spill, 64);
  copy_rows(spill, acc, ldacc, rows);
  _tile_stored(1, spill, 64);
  copy_rows(spill, acc + 16, ldacc, rows);
}

}  // namespace

void gemm_s8_enter_amxint8() {
  TileConfig config = {};
  config.palette = 1;
  for (int t = 0; t < 8; ++t) {
    config.row_bytes[t] = 64;
    config.rows[t] = 16;
  }
  _tile_loadconfig(&config);
}

void gemm_s8_leave_amxint8() {
  _tile_release();
}

void gemm_s8_run_amxint8(const uint8_t* a, size_t lda, size_t rows, const void* panel, size_t k, int32_t* acc,
                         size_t ldacc) {
  const auto* start = static_cast<const int32_t*>(panel);
  while (rows > 16) {
    const size_t now = rows < 32 ? rows : 32;
    block_2x2(a, lda, start, k, acc, ldacc, now);
    a += now * lda;
    acc += now * ldacc;
    rows -= now;
  }
  if (rows > 0) block_1x2(a, lda, start, k, acc, ldacc, rows);
}

}  // namespace qdqbert::engine
