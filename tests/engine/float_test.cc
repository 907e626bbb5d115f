#include <cmath>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/engine/float/attention.h"
#include "qdqbert/engine/float/linear.h"
#include "qdqbert/engine/kernels/select.h"

namespace qdqbert::engine {
namespace {

using products::FloatWeight;
using products::Precision;

std::vector<float> random_values(size_t n, unsigned seed, float scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(n);
  for (float& v : values) v = normal(generator);
  return values;
}

/// Unit roundoff of float32 (24 significant bits) and of bfloat16 (8).
constexpr double kFloatRounding = 0x1p-24, kBFloatRounding = 0x1p-8;

/// Checks c against sums in double. The error of a float dot product in any order, fused or not, is at most
/// (k + 1) u sum |a w| / (1 - k u) (Higham, Accuracy and Stability, §3.1; one more for the bias); rounding
/// both operands to bfloat16 adds (2 v + v^2) sum |a w|.
void expect_product(const std::vector<float>& a, size_t lda, const FloatWeight& w,
                    const std::vector<float>& bias, const std::vector<float>& c, size_t ldc, size_t rows,
                    bool bfloat16) {
  const double u = kFloatRounding, v = bfloat16 ? kBFloatRounding : 0;
  const double steps = static_cast<double>(w.k + 2);
  const double bound = steps * u / (1 - steps * u) + (2 * v + v * v) * (1 + 2 * steps * u);
  for (size_t m = 0; m < rows; ++m)
    for (size_t n = 0; n < w.n; ++n) {
      double sum = bias.empty() ? 0 : bias[n], size = std::abs(sum);
      for (size_t k = 0; k < w.k; ++k) {
        const double product = double(a[m * lda + k]) * double(w.data[k * w.k_stride + n * w.n_stride]);
        sum += product;
        size += std::abs(product);
      }
      ASSERT_NEAR(c[m * ldc + n], sum, bound * size) << "row " << m << " column " << n << " of " << rows;
    }
}

struct Size {
  size_t k, n;
};

constexpr Size kSizes[] = {{1, 1}, {64, 1}, {1, 24}, {32, 2}, {768, 2}, {64, 96}, {37, 53}, {256, 80}};
constexpr size_t kRows[] = {1, 7, 8, 9, 63, 64, 65, 130, 200};

void check_linear(Precision precision, int threads) {
  const bool bfloat16 = precision == Precision::kBFloat16 && products::bfloat16_is_fast();
  WorkerPool pool(threads);
  for (const Size size : kSizes) {
    for (const bool transposed : {false, true}) {
      const std::vector<float> weight = random_values(size.k * size.n, 1);
      const FloatWeight view = transposed ? FloatWeight{weight.data(), size.k, size.n, 1, size.k}
                                          : FloatWeight{weight.data(), size.k, size.n, size.n, 1};
      const std::vector<float> bias = transposed ? std::vector<float>() : random_values(size.n, 2);
      const FloatLinear linear(view, bias, precision);
      for (const size_t rows : kRows) {
        const size_t lda = size.k + 3, ldc = size.n + 5;
        const std::vector<float> a = random_values(rows * lda, 3);
        const float untouched = 12345;
        std::vector<float> c(rows * ldc, untouched);
        linear.run(pool, a.data(), lda, rows, c.data(), ldc);
        ASSERT_NO_FATAL_FAILURE(expect_product(a, lda, view, bias, c, ldc, rows, bfloat16))
            << linear.kernel() << " k=" << size.k << " n=" << size.n << " threads=" << threads;
        for (size_t m = 0; m < rows; ++m)
          for (size_t n = size.n; n < ldc; ++n) ASSERT_EQ(c[m * ldc + n], untouched);
      }
    }
  }
}

TEST(FloatLinear, AgreesWithSumsInDoublePrecision) {
  for (const int threads : {1, 2, 3}) check_linear(Precision::kFloat32, threads);
}

TEST(FloatLinear, BFloat16AgreesWithSumsInDoublePrecision) {
  for (const int threads : {1, 3}) check_linear(Precision::kBFloat16, threads);
}

TEST(FloatLinear, SaysWhenBFloat16IsNotFast) {
  const std::vector<float> weight = random_values(32 * 16, 1);
  const FloatWeight view{weight.data(), 32, 16, 16, 1};
  const FloatLinear rounded(view, {}, Precision::kBFloat16);
  const FloatLinear full(view, {});
  EXPECT_EQ(rounded.note().empty(), products::bfloat16_is_fast());
  EXPECT_EQ(rounded.kernel() == full.kernel(), !products::bfloat16_is_fast());
  EXPECT_TRUE(full.note().empty());
  EXPECT_GE(full.weight_bytes(), 32u * 16u * 4u);
}

TEST(FloatLinear, CallsBackOnceForEveryRow) {
  const std::vector<float> weight = random_values(32 * 16, 1);
  const FloatLinear linear({weight.data(), 32, 16, 16, 1}, {});
  WorkerPool pool(3);
  const size_t rows = 203;
  const std::vector<float> a = random_values(rows * 32, 2);
  std::vector<float> plain(rows * 16), doubled(rows * 16);
  linear.run(pool, a.data(), 32, rows, plain.data(), 16);
  std::vector<int> calls(rows);
  linear.run(pool, a.data(), 32, rows, doubled.data(), 16, [&](size_t first, size_t count, int) {
    for (size_t m = first; m < first + count; ++m) {
      ++calls[m];
      for (size_t n = 0; n < 16; ++n) doubled[m * 16 + n] *= 2;
    }
  });
  EXPECT_THAT(calls, testing::Each(1));
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(doubled[i], 2 * plain[i]);
}

TEST(FloatLinear, ManyThreadsShareOneWeight) {
  const std::vector<float> weight = random_values(64 * 48, 1);
  const FloatLinear linear({weight.data(), 64, 48, 48, 1}, {});
  const std::vector<float> a = random_values(200 * 64, 2);
  std::vector<std::thread> users;
  std::vector<std::vector<float>> results(3);
  for (size_t user = 0; user < results.size(); ++user) {
    users.emplace_back([&, user] {
      WorkerPool pool(2);
      for (size_t rows = 1; rows <= 200; rows += 37) {
        results[user].assign(200 * 48, 0);
        linear.run(pool, a.data(), 64, rows, results[user].data(), 48);
      }
    });
  }
  for (std::thread& user : users) user.join();
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

#ifdef __linux__
TEST(FloatLinear, StartsNoThreadsOfItsOwn) {
  const auto threads_of_process = [] {
    std::FILE* status = std::fopen("/proc/self/status", "r");
    char line[256];
    int threads = 0;
    while (std::fgets(line, sizeof line, status))
      if (std::sscanf(line, "Threads: %d", &threads) == 1) break;
    std::fclose(status);
    return threads;
  };
  WorkerPool pool(2);
  const int before = threads_of_process();
  const std::vector<float> weight = random_values(768 * 768, 1), a = random_values(256 * 768, 2);
  const FloatLinear linear({weight.data(), 768, 768, 768, 1}, {});
  std::vector<float> c(256 * 768);
  linear.run(pool, a.data(), 768, 256, c.data(), 768);
  attend_float(pool, rows_for(preferred_isa()), {12, 64, 0.125f, false, {}, {}},
               std::vector<Segment>{{0, 256}}, std::vector<Segment>{{0, 256}}, {a.data(), 768},
               {a.data(), 768}, {a.data(), 768}, c.data(), 768);
  EXPECT_EQ(threads_of_process(), before);
}
#endif

struct AttentionCase {
  size_t heads, head_size;
  std::vector<size_t> lengths;
  bool rounded;  ///< probabilities on a grid of 1/16 before they meet V
};

/// Softmax weights in double precision against float: a score is off by at most (D + 2) u sum |q k| factor,
/// which exp turns into a relative error of twice that on a normalised weight (numerator and denominator);
/// the exponential adds 1.5e-7 twice, sums over S keys (S + 2) u each for the denominator and the product.
void check_attention(const AttentionCase& test, int threads) {
  WorkerPool pool(threads);
  const size_t width = test.heads * test.head_size;
  std::vector<Segment> segments;
  size_t tokens = 0;
  for (const size_t length : test.lengths) {
    segments.push_back({tokens, length});
    tokens += length;
  }
  const size_t ld = 3 * width + 2, ldcontext = width + 3;
  const std::vector<float> qkv = random_values(tokens * ld, 7);
  std::vector<float> context(tokens * ldcontext, 99);
  FloatAttention attention{
      test.heads, test.head_size, 1 / std::sqrt(static_cast<float>(test.head_size)), false, {}, {}};
  const double grid = 16;
  if (test.rounded) {
    attention.on_probabilities = [&](float* p, size_t rows, size_t keys, size_t ldp) {
      for (size_t m = 0; m < rows; ++m)
        for (size_t j = 0; j < keys; ++j) p[m * ldp + j] = std::nearbyint(p[m * ldp + j] * 16.0f) / 16.0f;
    };
  }
  attend_float(pool, rows_for(preferred_isa()), attention, segments, segments, {qkv.data(), ld},
               {qkv.data() + width, ld}, {qkv.data() + 2 * width, ld}, context.data(), ldcontext);
  const double u = kFloatRounding;
  for (const Segment& segment : segments)
    for (size_t h = 0; h < test.heads; ++h)
      for (size_t i = 0; i < segment.length; ++i) {
        const float* q = qkv.data() + (segment.begin + i) * ld + h * test.head_size;
        std::vector<double> p(segment.length);
        double score_error = 0, top = -1e300, sum = 0;
        for (size_t j = 0; j < segment.length; ++j) {
          const float* k = qkv.data() + (segment.begin + j) * ld + width + h * test.head_size;
          double score = 0, size = 0;
          for (size_t d = 0; d < test.head_size; ++d) {
            score += double(q[d]) * double(k[d]);
            size += std::abs(double(q[d]) * double(k[d]));
          }
          p[j] = score * double(attention.score_factor);
          score_error = std::max(score_error, (static_cast<double>(test.head_size) + 4) * u * size *
                                                  double(attention.score_factor));
          top = std::max(top, p[j]);
        }
        // The difference to the maximum is rounded once more.
        double lowest = top;
        for (double& x : p) {
          lowest = std::min(lowest, x);
          sum += x = std::exp(x - top);
        }
        score_error += (top - lowest) * u;
        const auto keys = static_cast<double>(segment.length);
        const double relative = 2 * (2 * score_error + 1.5e-7) + 2 * (keys + 2) * u;
        for (size_t d = 0; d < test.head_size; ++d) {
          double exact = 0, slack = 0;
          for (size_t j = 0; j < segment.length; ++j) {
            const double v = qkv[(segment.begin + j) * ld + 2 * width + h * test.head_size + d];
            double weight = p[j] / sum;
            double error = weight * relative;
            if (test.rounded) {
              const double rounded = std::nearbyint(weight * grid) / grid;
              // Exact on the grid unless the error carries it over a boundary, where it may go either way.
              const double to_boundary = std::abs(std::abs(weight * grid - rounded * grid) - 0.5);
              error = to_boundary <= error * grid ? 1 / grid : 0;
              error += std::abs(rounded) * (keys + 2) * u;
              weight = rounded;
            }
            exact += weight * v;
            slack += error * std::abs(v);
          }
          ASSERT_NEAR(context[(segment.begin + i) * ldcontext + h * test.head_size + d], exact, slack + 1e-30)
              << "length " << segment.length << " head " << h << " row " << i << " threads " << threads;
        }
      }
  for (size_t t = 0; t < tokens; ++t)
    for (size_t n = width; n < ldcontext; ++n) ASSERT_EQ(context[t * ldcontext + n], 99);
}

TEST(AttendFloat, AgreesWithDoublePrecision) {
  for (const int threads : {1, 2, 3}) {
    check_attention({2, 16, {1, 5, 64, 65, 33}, false}, threads);
    check_attention({3, 64, {130, 2}, false}, threads);
    check_attention({1, 7, {20}, false}, threads);
  }
}

TEST(AttendFloat, ProbabilitiesPassThroughTheHook) {
  check_attention({2, 16, {9, 70}, true}, 2);
}

}  // namespace
}  // namespace qdqbert::engine
