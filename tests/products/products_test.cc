// Products of whichever backend was compiled, against sums in double precision.
#include "qdqbert/products/products.h"

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace qdqbert::products {
namespace {

constexpr Shape kShapes[] = {{1, 1, 1}, {3, 5, 7}, {33, 17, 64}, {70, 96, 130}};

std::vector<float> random_values(int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

/// Cuts every value to the upper half of its bits, and returns these.
std::vector<uint16_t> to_bfloat16(std::vector<float>& values) {
  std::vector<uint16_t> halves;
  for (float& value : values) {
    halves.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
    value = std::bit_cast<float>(uint32_t{halves.back()} << 16);
  }
  return halves;
}

/// A matrix in memory with two elements between its rows (or columns, when transposed).
struct Matrix {
  Matrix(int64_t rows, int64_t columns, bool transposed, unsigned seed)
      : ld((transposed ? rows : columns) + 2),
        transposed(transposed),
        values(random_values((transposed ? columns : rows) * ld, seed)) {}
  double at(int64_t row, int64_t column) const {
    return values[static_cast<size_t>(transposed ? column * ld + row : row * ld + column)];
  }
  Operand operand() const { return {values.data(), ld, transposed}; }

  int64_t ld;
  bool transposed;
  std::vector<float> values;
};

/// The error of a float dot product in any order, fused or not, is at most k u sum |a b| / (1 - k u) with
/// k terms (Higham, Accuracy and Stability, §3.1); three more for the factor, the sum with c and the bias.
void expect_near(float found, double start, double factor, const Matrix& a, const Matrix& b, Shape s,
                 int64_t i, int64_t j) {
  double sum = start, size = std::abs(start);
  for (int64_t l = 0; l < s.k; ++l) {
    sum += factor * a.at(i, l) * b.at(l, j);
    size += std::abs(factor * a.at(i, l) * b.at(l, j));
  }
  const double steps = static_cast<double>(s.k + 3) * 0x1p-24;
  ASSERT_NEAR(found, sum, steps / (1 - steps) * size) << i << ", " << j << " of " << s.m << " x " << s.n;
}

TEST(Products, AgreeWithSumsInDoublePrecision) {
  const OneThread one;
  for (const Shape s : kShapes)
    for (const bool a_transposed : {false, true})
      for (const bool b_transposed : {false, true})
        for (const bool adds : {false, true}) {
          const Matrix a(s.m, s.k, a_transposed, 1), b(s.k, s.n, b_transposed, 2);
          const int64_t ldc = s.n + 3;
          const std::vector<float> before = random_values(s.m * ldc, 3);
          std::vector<float> c = before;
          const float factor = 0.375F;
          multiply(s, a.operand(), b.operand(), factor, adds, c.data(), ldc);
          for (int64_t i = 0; i < s.m; ++i) {
            for (int64_t j = 0; j < s.n; ++j) {
              const auto at = static_cast<size_t>(i * ldc + j);
              ASSERT_NO_FATAL_FAILURE(expect_near(c[at], adds ? before[at] : 0, factor, a, b, s, i, j));
            }
            for (auto at = static_cast<size_t>(i * ldc + s.n); at < static_cast<size_t>((i + 1) * ldc); ++at)
              ASSERT_EQ(c[at], before[at]) << "written behind a row";
          }
        }
}

TEST(Products, OfBFloat16SumInFloat) {
  const OneThread one;
  for (const Shape s : kShapes)
    for (const bool a_transposed : {false, true})
      for (const bool b_transposed : {false, true})
        for (const bool has_bias : {false, true}) {
          Matrix a(s.m, s.k, a_transposed, 1), b(s.k, s.n, b_transposed, 2);
          const std::vector<uint16_t> a_halves = to_bfloat16(a.values), b_halves = to_bfloat16(b.values);
          const std::vector<float> bias = random_values(s.n, 3);
          std::vector<float> c(static_cast<size_t>(s.m * s.n));
          multiply_bfloat16(s, {a_halves.data(), a.ld, a_transposed}, {b_halves.data(), b.ld, b_transposed},
                            has_bias ? bias.data() : nullptr, c.data());
          for (int64_t i = 0; i < s.m; ++i)
            for (int64_t j = 0; j < s.n; ++j)
              ASSERT_NO_FATAL_FAILURE(expect_near(c[static_cast<size_t>(i * s.n + j)],
                                                  has_bias ? bias[static_cast<size_t>(j)] : 0, 1, a, b, s, i,
                                                  j));
        }
}

TEST(Products, OnlyFastBackendsHaveFastBFloat16) {
  EXPECT_EQ(backend() == "oneDNN", are_fast());
  EXPECT_TRUE(are_fast() || !bfloat16_is_fast());
}

}  // namespace
}  // namespace qdqbert::products
