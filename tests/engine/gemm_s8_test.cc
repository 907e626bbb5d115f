#include <limits>
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

TEST_P(GemmS8Test, RequantizingAtOnceHasTheBitsOfTheReferenceAfterwards) {
  const GemmS8Kernel& kernel = gemm_s8_for(GetParam());
  if (!kernel.run_requantize) GTEST_SKIP() << "this kernel leaves it to the row kernels";
  std::mt19937 random(11);
  std::uniform_int_distribution<int> code(-128, 127);
  for (size_t m : {1, 2, 15, 16, 17, 31, 32, 33, 48, 65, 97})
    for (const auto& [n, k] : {std::pair<size_t, size_t>{32, 64}, {96, 128}, {160, 768}, {64, 1088}})
      for (const Activation activation :
           {Activation::kNone, Activation::kGelu, Activation::kRelu, Activation::kSilu})
        for (const float inverse : {25.0f, 3e9f})
          for (const float clip : {std::numeric_limits<float>::infinity(), 2.0f}) {
            const size_t lda = k + 64, ld = n + 5;
            std::vector<int8_t> b(k * n);
            for (auto& v : b) v = static_cast<int8_t>(code(random));
            std::vector<uint8_t> a((m + 64) * lda);
            for (auto& v : a) v = static_cast<uint8_t>(code(random));
            std::vector<uint8_t> panels(n / kernel.columns * panel_bytes(kernel, k) + 64);
            pack_panels(kernel, {b.data(), k, n, n, 1}, panels.data());
            const std::vector<float> scale(n, 2e-5f), bias(n, -0.25f), inverses(n, inverse);
            std::vector<int32_t> acc(m * n), scratch(kRequantizeScratch);
            std::vector<uint8_t> expected(m * ld, 7), got(m * ld, 7);
            kernel.enter();
            for (size_t p = 0; p < n / kernel.columns; ++p)
              kernel.run(a.data(), lda, m, panels.data() + p * panel_bytes(kernel, k), k,
                         acc.data() + p * kernel.columns, n);
            RequantizeArgs args{acc.data(),
                                n,
                                m,
                                n,
                                scale.data(),
                                bias.data(),
                                activation,
                                clip,
                                inverses.data(),
                                expected.data(),
                                ld,
                                0,
                                nullptr,
                                0};
            rows_ref().requantize(args);
            args.codes = got.data();
            kernel.run_requantize(a.data(), lda, panels.data(), k, scratch.data(), {panels.data(), 200},
                                  args);
            kernel.leave();
            ASSERT_EQ(got, expected) << m << " x " << k << " x " << n << " activation "
                                     << static_cast<int>(activation) << " inverse " << inverse;
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
