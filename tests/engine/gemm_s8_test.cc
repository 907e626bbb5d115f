#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "qdqbert/engine/kernels/peak.h"
#include "qdqbert/engine/kernels/select.h"

#include "tests/engine/machine_isas.h"

namespace qdqbert::engine {
namespace {

struct Aligned {
  explicit Aligned(size_t bytes)
      : data(static_cast<unsigned char*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64))) {}
  ~Aligned() { std::free(data); }
  unsigned char* data;
};

struct Problem {
  size_t m, n, k;
  std::vector<int8_t> a, b;  ///< a [m][k], b [k][n]
};

std::vector<int32_t> plain(const Problem& p) {
  std::vector<int32_t> c(p.m * p.n, 0);
  for (size_t m = 0; m < p.m; ++m)
    for (size_t k = 0; k < p.k; ++k)
      for (size_t n = 0; n < p.n; ++n) c[m * p.n + n] += p.a[m * p.k + k] * p.b[k * p.n + n];
  return c;
}

std::vector<int32_t> with_kernel(const GemmS8Kernel& kernel, const Problem& p, bool transposed) {
  const size_t k = padded_k(p.k);
  std::vector<int8_t> b = p.b;
  MatrixS8 matrix{b.data(), p.k, p.n, p.n, 1};
  if (transposed) {
    for (size_t i = 0; i < p.k; ++i)
      for (size_t n = 0; n < p.n; ++n) b[n * p.k + i] = p.b[i * p.n + n];
    matrix = {b.data(), p.k, p.n, 1, p.k};
  }
  const size_t panels = panel_count(kernel, p.n), bytes = panel_bytes(kernel, k);
  const Aligned packed(panels * bytes);
  pack_panels(kernel, matrix, packed.data);
  // Padding of A in both directions holds codes that must not matter.
  const size_t rows = (p.m + kernel.row_overread - 1) / kernel.row_overread * kernel.row_overread;
  std::vector<uint8_t> a(rows * k, 0x5a);
  const uint8_t flip = kernel.unsigned_a ? 0x80 : 0;
  for (size_t m = 0; m < p.m; ++m)
    for (size_t i = 0; i < p.k; ++i) a[m * k + i] = static_cast<uint8_t>(p.a[m * p.k + i]) ^ flip;
  const size_t ld = panels * kernel.columns;
  std::vector<int32_t> acc((p.m + 1) * ld, 0x77777777);
  kernel.enter();
  for (size_t j = 0; j < panels; ++j)
    kernel.run(a.data(), k, p.m, packed.data + j * bytes, k, acc.data() + j * kernel.columns, ld);
  kernel.leave();
  for (size_t n = 0; n < ld; ++n)
    EXPECT_EQ(acc[p.m * ld + n], 0x77777777) << "a row past the end was written";
  std::vector<int32_t> c(p.m * p.n);
  for (size_t m = 0; m < p.m; ++m)
    std::memcpy(c.data() + m * p.n, acc.data() + m * ld, p.n * sizeof(int32_t));
  return c;
}

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
