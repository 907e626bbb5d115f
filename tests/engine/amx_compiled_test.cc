// The compiled AMX code, its tile instructions emulated. A compiler once removed most of
// the tile configuration (the header of g++ 12 says that ldtilecfg reads 8 bytes),
// which no test of the source could see.
#include <array>
#include <random>

#include <gtest/gtest.h>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/engine/kernels/gemm_s8.h"
#include "qdqbert/engine/kernels/peak_s8.h"

#include "tests/engine/gemm_problem.h"
#include "tests/engine/tile_instructions.h"

namespace qdqbert::engine {
namespace {

TEST(AmxCompiledTest, EntersWithEightWholeTilesAndGivesThemBack) {
  testing::EmulatedTiles tiles;
  run_stepwise(tiles, [] { gemm_s8_enter_amxint8(); });
  ASSERT_EQ(tiles.fault, "");
  ASSERT_TRUE(tiles.configuration) << "no ldtilecfg was met";
  EXPECT_EQ(tiles.configuration->palette, 1);
  for (int t = 0; t < 16; ++t) {
    EXPECT_EQ(tiles.configuration->rows[t], t < 8 ? 16 : 0) << "tile " << t;
    EXPECT_EQ(tiles.configuration->row_bytes[t], t < 8 ? 64 : 0) << "tile " << t;
  }
  EXPECT_EQ(tiles.configured_from, &gemm_s8_configuration_amxint8);
  run_stepwise(tiles, [] { gemm_s8_leave_amxint8(); });
  EXPECT_FALSE(tiles.configuration) << "the tiles are not given back";
}

testing::EmulatedTiles tiles;

/// The row of the table, acting on the emulated tiles.
GemmS8Kernel emulated() {
  GemmS8Kernel kernel = *find_gemm_s8("amxint8");
  kernel.enter = [] { run_stepwise(tiles, [] { gemm_s8_enter_amxint8(); }); };
  kernel.leave = [] { run_stepwise(tiles, [] { gemm_s8_leave_amxint8(); }); };
  kernel.run = [](const uint8_t* a, size_t lda, size_t rows, const void* panel, size_t k, int32_t* acc,
                  size_t ldacc) {
    run_stepwise(tiles, [&] { gemm_s8_run_amxint8(a, lda, rows, panel, k, acc, ldacc); });
  };
  return kernel;
}

TEST(AmxCompiledTest, EqualsThePlainLoopOnEveryRemainder) {
  // Between its tile instructions the kernel moves rows by AVX-512.
  if (!supports(Isa::kAvx512Vnni)) GTEST_SKIP() << "this machine has no AVX-512";
  const GemmS8Kernel kernel = emulated();
  std::mt19937 random(7);
  std::uniform_int_distribution<int> code(-128, 127);
  for (const size_t m : {1, 16, 17, 32, 33, 65})
    for (const auto& [n, k] : {std::pair<size_t, size_t>{1, 1}, {40, 130}, {32, 832}}) {
      Problem p{m, n, k, std::vector<int8_t>(m * k), std::vector<int8_t>(k * n)};
      for (auto& v : p.a) v = static_cast<int8_t>(code(random));
      for (auto& v : p.b) v = static_cast<int8_t>(code(random));
      ASSERT_EQ(with_kernel(kernel, p, false), plain(p)) << m << " x " << k << " x " << n;
      ASSERT_EQ(tiles.fault, "") << m << " x " << k << " x " << n;
      ASSERT_FALSE(tiles.configuration) << "the tiles are not given back";
    }
}

TEST(AmxCompiledTest, ThePeakIsThatOfTheCodesItIsGiven) {
  if (!supports(Isa::kAvx512Vnni)) GTEST_SKIP() << "this machine has no AVX-512";
  std::mt19937 random(3);
  alignas(64) std::array<int8_t, kPeakCodes> codes;
  for (int8_t& code : codes) code = static_cast<int8_t>(random());
  const GemmS8Kernel kernel = emulated();
  kernel.enter();
  tiles.products = 0;
  double operations = 0;
  run_stepwise(tiles, [&] { operations = peak_s8_amxint8(codes.data(), 5); });
  EXPECT_EQ(tiles.products, 20U);
  EXPECT_EQ(operations, 20.0 * 16 * 16 * 64 * 2);
  // Sums 0 to 3 of tiles 4 and 5, that hold the first codes, by 6 and 7.
  for (size_t t = 0; t < 4; ++t) {
    int32_t sums[16][16];
    tiles.store(t, sums, sizeof(sums[0]));
    const int8_t *a = codes.data() + t / 2 * 1024, *b = codes.data() + 2048 + t % 2 * 1024;
    for (size_t m = 0; m < 16; ++m)
      for (size_t n = 0; n < 16; ++n) {
        int32_t sum = 0;
        for (size_t k = 0; k < 64; ++k) sum += a[m * 64 + k] * b[k / 4 * 64 + 4 * n + k % 4];
        ASSERT_EQ(sums[m][n], 5 * sum) << t;
      }
  }
  kernel.leave();
  EXPECT_EQ(tiles.fault, "");
}

}  // namespace
}  // namespace qdqbert::engine
