// The tile walk of the AMX kernel on emulated tiles, so that it is tested on every machine: this file
// compiles the kernel's own source with the tile instructions replaced by functions that check what the
// hardware would fault on.
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <immintrin.h>

#include "tests/engine/gemm_problem.h"

namespace {

struct Tile {
  std::array<uint8_t, 1024> bytes;
  bool defined = false;
};

struct Config {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

std::optional<Config> config;
std::array<Tile, 8> tiles;
size_t products = 0;

void fault(const std::string& what) {
  ADD_FAILURE() << what;
}

/// Rows and bytes a row of a tile; an instruction without a configuration is a fault.
bool shape(int tile, size_t& rows, size_t& bytes) {
  if (!config) {
    fault("a tile instruction without a configuration");
    return false;
  }
  rows = config->rows[tile];
  bytes = config->row_bytes[tile];
  return true;
}

void tile_loadconfig(const void* from) {
  Config c;
  static_assert(sizeof(c) == 64);
  std::memcpy(&c, from, sizeof(c));
  if (c.palette != 1 || c.start_row != 0) fault("palette");
  for (const uint8_t r : c.reserved)
    if (r != 0) fault("reserved bytes");
  for (int t = 0; t < 16; ++t) {
    if (t >= 8 && (c.rows[t] != 0 || c.row_bytes[t] != 0)) fault("more than eight tiles");
    if (c.rows[t] > 16 || c.row_bytes[t] > 64) fault("a tile too large");
  }
  config = c;
  for (Tile& tile : tiles) tile = {{}, true};
}

void tile_release() {
  config.reset();
  for (Tile& tile : tiles) tile.defined = false;
}

void tile_zero(int t) {
  size_t rows, bytes;
  if (shape(t, rows, bytes)) tiles[static_cast<size_t>(t)] = {{}, true};
}

void tile_loadd(int t, const void* from, size_t stride) {
  size_t rows, bytes;
  if (!shape(t, rows, bytes)) return;
  Tile& tile = tiles[static_cast<size_t>(t)];
  tile = {{}, true};
  for (size_t r = 0; r < rows; ++r)
    std::memcpy(tile.bytes.data() + r * 64, static_cast<const uint8_t*>(from) + r * stride, bytes);
}

void tile_stored(int t, void* to, size_t stride) {
  size_t rows, bytes;
  if (!shape(t, rows, bytes)) return;
  const Tile& tile = tiles[static_cast<size_t>(t)];
  if (!tile.defined) fault("an undefined tile is stored");
  for (size_t r = 0; r < rows; ++r)
    std::memcpy(static_cast<uint8_t*>(to) + r * stride, tile.bytes.data() + r * 64, bytes);
}

/// sums[m][n] += a[m][4 k .. 4 k + 3] . b[k][4 n .. 4 n + 3], signed bytes.
void tile_dpbssd(int sums, int a, int b) {
  size_t rows, bytes, a_rows, a_bytes, b_rows, b_bytes;
  if (!shape(sums, rows, bytes) || !shape(a, a_rows, a_bytes) || !shape(b, b_rows, b_bytes)) return;
  if (rows != a_rows || a_bytes != 4 * b_rows || bytes != b_bytes) fault("tiles that do not fit together");
  ++products;
  Tile& to = tiles[static_cast<size_t>(sums)];
  const auto byte = [](const Tile& tile, size_t row, size_t at) {
    return static_cast<int32_t>(static_cast<int8_t>(tile.bytes[row * 64 + at]));
  };
  const Tile &left = tiles[static_cast<size_t>(a)], &right = tiles[static_cast<size_t>(b)];
  for (size_t m = 0; m < rows; ++m)
    for (size_t n = 0; n < bytes / 4; ++n) {
      int32_t sum;
      std::memcpy(&sum, to.bytes.data() + m * 64 + n * 4, 4);
      for (size_t k = 0; k < a_bytes / 4; ++k)
        for (size_t j = 0; j < 4; ++j) sum += byte(left, m, 4 * k + j) * byte(right, k, 4 * n + j);
      std::memcpy(to.bytes.data() + m * 64 + n * 4, &sum, 4);
    }
}

}  // namespace

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#define _tile_loadconfig tile_loadconfig
#define _tile_release tile_release
#define _tile_zero tile_zero
#define _tile_loadd tile_loadd
#define _tile_stored tile_stored
#define _tile_dpbssd tile_dpbssd
// These definitions stand before the library's in the link, so the kernel table leads to them.
#include "qdqbert/engine/kernels/gemm_s8_amxint8.cc"

namespace qdqbert::engine {
namespace {

TEST(AmxWalkTest, EqualsThePlainLoopOnEveryRemainder) {
  const GemmS8Kernel& kernel = *find_gemm_s8("amxint8");
  ASSERT_EQ(kernel.run, &gemm_s8_run_amxint8);
  std::mt19937 random(7);
  std::uniform_int_distribution<int> code(-128, 127);
  for (const size_t m : {1, 15, 16, 17, 31, 32, 33, 48, 49, 65, 96})
    for (const auto& [n, k] :
         {std::pair<size_t, size_t>{1, 1}, {32, 64}, {33, 130}, {32, 768}, {40, 832}, {32, 1600}}) {
      Problem p{m, n, k, std::vector<int8_t>(m * k), std::vector<int8_t>(k * n)};
      for (auto& v : p.a) v = static_cast<int8_t>(code(random));
      for (auto& v : p.b) v = static_cast<int8_t>(code(random));
      ASSERT_EQ(with_kernel(kernel, p, false), plain(p)) << m << " x " << k << " x " << n;
      ASSERT_FALSE(config) << "the tiles are not given back";
    }
}

TEST(AmxWalkTest, DoesNoMoreProductsThanTheShapeNeeds) {
  const GemmS8Kernel& kernel = *find_gemm_s8("amxint8");
  Problem p{96, 64, 1536, std::vector<int8_t>(96 * 1536, 1), std::vector<int8_t>(1536 * 64, 1)};
  products = 0;
  with_kernel(kernel, p, false);
  EXPECT_EQ(products, size_t{96 / 16 * 64 / 16 * 1536 / 64});
}

}  // namespace
}  // namespace qdqbert::engine
