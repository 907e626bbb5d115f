// The tile walk of the AMX kernel on emulated tiles, so that it is tested on every machine: this file
// compiles the kernel's own source with the tile instructions replaced by functions that check what the
// hardware would fault on. What shape the tiles have is asked of the compiled library.
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/gemm_problem.h"
#include "tests/engine/tile_instructions.h"
#include "tests/engine/tile_macros.h"
// This definition stands before the library's in the link, so the kernel table leads to it.
#include "qdqbert/engine/kernels/gemm_s8_amxint8.cc"

namespace qdqbert::engine {
namespace {

/// The row of the table; the compiled enter and leave act on the emulated tiles.
GemmS8Kernel emulated() {
  GemmS8Kernel kernel = *find_gemm_s8("amxint8");
  EXPECT_EQ(kernel.run, &gemm_s8_run_amxint8);
  EXPECT_EQ(kernel.enter, &gemm_s8_enter_amxint8);
  EXPECT_EQ(kernel.leave, &gemm_s8_leave_amxint8);
  kernel.enter = [] { run_stepwise(tiles, [] { gemm_s8_enter_amxint8(); }); };
  kernel.leave = [] { run_stepwise(tiles, [] { gemm_s8_leave_amxint8(); }); };
  return kernel;
}

TEST(AmxWalkTest, EqualsThePlainLoopOnEveryRemainder) {
  const GemmS8Kernel kernel = emulated();
  std::mt19937 random(7);
  std::uniform_int_distribution<int> code(-128, 127);
  for (const size_t m : {1, 15, 16, 17, 31, 32, 33, 48, 49, 65, 96})
    for (const auto& [n, k] :
         {std::pair<size_t, size_t>{1, 1}, {32, 64}, {33, 130}, {32, 768}, {40, 832}, {32, 1600}}) {
      Problem p{m, n, k, std::vector<int8_t>(m * k), std::vector<int8_t>(k * n)};
      for (auto& v : p.a) v = static_cast<int8_t>(code(random));
      for (auto& v : p.b) v = static_cast<int8_t>(code(random));
      ASSERT_EQ(with_kernel(kernel, p, false), plain(p)) << m << " x " << k << " x " << n;
      ASSERT_EQ(tiles.fault, "") << m << " x " << k << " x " << n;
      ASSERT_FALSE(tiles.configuration) << "the tiles are not given back";
    }
}

TEST(AmxWalkTest, DoesNoMoreProductsThanTheShapeNeeds) {
  const GemmS8Kernel kernel = emulated();
  Problem p{96, 64, 1536, std::vector<int8_t>(96 * 1536, 1), std::vector<int8_t>(1536 * 64, 1)};
  tiles.products = 0;
  with_kernel(kernel, p, false);
  EXPECT_EQ(tiles.products, size_t{96 / 16 * 64 / 16 * 1536 / 64});
}

}  // namespace
}  // namespace qdqbert::engine
