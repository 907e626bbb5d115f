#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "qdqbert/engine/kernels/peak.h"
#include "qdqbert/engine/kernels/select.h"

#include "tests/engine/gemm_problem.h"
#include "tests/engine/machine_isas.h"

namespace qdqbert::engine {
namespace {

class GemmS8Test : public ::testing::TestWithParam<Isa> {};

TEST_P(GemmS8Test, EqualsThePlainLoopOnEveryRemainder) {
  const GemmS8Kernel& kernel = gemm_s8_for(GetParam());
  ASSERT_EQ(kernel.name, name_of(GetParam()));
  std::mt19937 random(7);
  std::uniform_int_distribution<int> code(-128, 127);
  for (size_t m : {1, 2, 3, 5, 6, 7, 11, 12, 13, 15, 16, 17, 31, 32, 33, 40, 65})
    for (const auto& [n, k] :
         {std::pair<size_t, size_t>{1, 1}, {16, 64}, {31, 63}, {32, 65}, {33, 130}, {96, 832}}) {
      Problem p{m, n, k, std::vector<int8_t>(m * k), std::vector<int8_t>(k * n)};
      for (auto& v : p.a) v = static_cast<int8_t>(code(random));
      for (auto& v : p.b) v = static_cast<int8_t>(code(random));
      const auto expected = plain(p);
      ASSERT_EQ(with_kernel(kernel, p, false), expected) << m << " x " << k << " x " << n;
      ASSERT_EQ(with_kernel(kernel, p, false, true), expected)
          << m << " x " << k << " x " << n << " shortest";
      ASSERT_EQ(with_kernel(kernel, p, true), expected) << m << " x " << k << " x " << n << " transposed";
    }
}

TEST_P(GemmS8Test, ExtremeCodesInAllPairingsAtTheLongestK) {
  const GemmS8Kernel& kernel = gemm_s8_for(GetParam());
  for (int a : {-128, 127})
    for (int b : {-128, 127}) {
      Problem p{3, 33, 4096, std::vector<int8_t>(3 * 4096, static_cast<int8_t>(a)),
                std::vector<int8_t>(4096 * 33, static_cast<int8_t>(b))};
      const auto c = with_kernel(kernel, p, false);
      for (int32_t v : c) ASSERT_EQ(v, 4096 * a * b);
    }
}

TEST_P(GemmS8Test, ThePeakIsMeasuredOnEveryThread) {
  // The slowest instruction set at 100 MHz would still pass; a loop that the compiler removed would not.
  for (const int threads : {1, 2, 3}) {
    const double gops = measured_peak_gops(GetParam(), threads);
    EXPECT_GT(gops, 0.2);
    EXPECT_LT(gops, 20000.0 * threads);
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, GemmS8Test, ::testing::ValuesIn(machine_isas()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace qdqbert::engine
