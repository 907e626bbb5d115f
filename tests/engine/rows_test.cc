#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "qdqbert/engine/kernels/select.h"

#include "tests/engine/machine_isas.h"

namespace qdqbert::engine {
namespace {

double exact(Activation activation, double x) {
  switch (activation) {
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::kQuickGelu:
      return x / (1 + std::exp(-1.702 * x));
    case Activation::kMish:
      return x * std::tanh(std::log1p(std::exp(x)));
    case Activation::kLaplace:
      return 0.5 * std::erfc(-(x - 0.707107) / (0.282095 * std::sqrt(2.0)));
    case Activation::kLeakyRelu:
      return x > 0 ? x : 0.01 * x;
    case Activation::kRelu2:
      return x > 0 ? x * x : 0;
    case Activation::kNone:
      break;
  }
  return x;
}

constexpr Activation kActivations[] = {Activation::kNone,    Activation::kGelu,      Activation::kGeluTanh,
                                       Activation::kRelu,    Activation::kSilu,      Activation::kTanh,
                                       Activation::kSigmoid, Activation::kQuickGelu, Activation::kMish,
                                       Activation::kLaplace, Activation::kLeakyRelu, Activation::kRelu2};

TEST(RowsReferenceTest, ActivationsStayWithinTheirBounds) {
  std::vector<float> x;
  for (int i = -80000; i <= 80000; ++i) x.push_back(static_cast<float>(i) * 1e-4f);
  std::vector<float> y(x.size());
  for (const Activation activation : kActivations) {
    rows_ref().activate(activation, x.data(), x.size(), y.data());
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(y[i] - exact(activation, x[i])));
    // GELU: rounding of values up to 8 (2.4e-7) on top of the fit (1.5e-7). The others: a few ulp of values
    // up to 8. Squares: one rounding of values up to 64.
    const double bound = activation == Activation::kGelu    ? 4.0e-7
                         : activation == Activation::kRelu2 ? 4.0e-6
                                                            : 1.0e-6;
    EXPECT_LT(worst, bound) << static_cast<int>(activation);
  }
}

TEST(RowsReferenceTest, ExpIsAccurateAndVanishesBelow) {
  std::vector<float> x, y;
  for (int i = 0; i <= 869000; ++i) x.push_back(static_cast<float>(-i) * 1e-4f);
  y.resize(x.size());
  rows_ref().exp_nonpositive(x.data(), x.size(), y.data());
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i)
    worst = std::max(worst, std::abs(y[i] / std::exp(static_cast<double>(x[i])) - 1));
  EXPECT_LT(worst, 1.5e-7);
  const float far[] = {-87.01f, -104.0f, -1e30f, -std::numeric_limits<float>::infinity()};
  float out[4];
  rows_ref().exp_nonpositive(far, 4, out);
  for (float v : out) EXPECT_EQ(v, 0.0f);
}

/// Worst |gelu(x) - x Phi(x)| over every `step`th float32 of [2^-20, 16] of both signs, on the fastest
/// instruction set, which has the bits of all. Below, x / 2 is right to x^2; above, x and 0 are exact.
double worst_gelu(uint32_t step) {
  const RowKernels& kernels = rows_for(machine_isas().back());
  std::vector<float> x, y;
  double worst = 0;
  for (const uint32_t sign : {0u, 0x80000000u})
    for (uint32_t bits = std::bit_cast<uint32_t>(0x1p-20f); bits <= std::bit_cast<uint32_t>(16.0f);
         bits += step) {
      x.push_back(std::bit_cast<float>(bits | sign));
      if (x.size() < 4096 && bits + step <= std::bit_cast<uint32_t>(16.0f)) continue;
      y.resize(x.size());
      kernels.activate(Activation::kGelu, x.data(), x.size(), y.data());
      for (size_t i = 0; i < x.size(); ++i) {
        const long double exactly =
            0.5L * x[i] * std::erfc(-static_cast<long double>(x[i]) * std::sqrt(0.5L));
        worst = std::max(worst, static_cast<double>(std::abs(y[i] - exactly)));
      }
      x.clear();
    }
  return worst;
}

TEST(RowsReferenceTest, GeluIsWithinItsBound) {
  EXPECT_LT(worst_gelu(997), 4.0e-7);
  for (const float x : {0x1p-21f, 1e-30f, 1e-40f, 17.0f, 1e30f}) {
    const float inputs[] = {x, -x};
    float y[2];
    rows_ref().activate(Activation::kGelu, inputs, 2, y);
    // Near 0 Phi is a half, of which the fit is off by 1e-5.
    const float half = 0.5f * x, near = x * x + 1e-5f * x;
    EXPECT_NEAR(y[0], x < 1 ? half : x, x < 1 ? near : 0) << x;
    EXPECT_NEAR(y[1], x < 1 ? -half : 0, x < 1 ? near : 4e-7) << x;
  }
}

// Minutes with long double; label long.
TEST(RowsExhaustive, GeluIsWithinItsBoundEverywhere) {
  const double worst = worst_gelu(1);
  std::printf("largest error of GELU over all float32: %.3g\n", worst);
  EXPECT_LT(worst, 4.0e-7);
}

TEST(RowsReferenceTest, ExponentialsOfSoftmaxAreWithinTheirBound) {
  constexpr size_t kKeys = 4096;
  for (const float scale : {1e-5f, 0.0042f, 0.02f, 50.0f})
    for (const int32_t top : {0, 1000, -70000, 1 << 30}) {
      std::vector<int32_t> acc(kKeys), scores(kKeys);
      for (size_t j = 0; j < kKeys; ++j)
        scores[j] = acc[j] = top - static_cast<int32_t>(static_cast<double>(j) * 80 / kKeys / scale);
      std::vector<uint8_t> codes(kKeys);
      rows_ref().softmax({acc.data(), kKeys, 1, kKeys, kKeys, scale, 127.0f, codes.data(), kKeys, 0, 0});
      std::vector<float> e(kKeys);
      std::memcpy(e.data(), acc.data(), kKeys * sizeof(float));
      for (size_t j = 0; j < kKeys; ++j) {
        const double below = (static_cast<double>(scores[j]) - top) * scale;
        // What the fit is off by with its roundings, and three roundings of the exponent: of the scale, of its product
        // with log2(e), and of the product.
        const double bound = 2e-7 + 3 * 0x1p-24 * std::abs(below);
        EXPECT_NEAR(e[j] / e[0] / std::exp(below), 1, bound) << scale << " " << top << " " << j;
      }
    }
}

class RowsTest : public ::testing::TestWithParam<Isa> {
 protected:
  std::vector<float> floats(size_t n, float low, float high) {
    std::uniform_real_distribution<float> uniform(low, high);
    std::vector<float> v(n);
    for (float& x : v) x = uniform(random_);
    return v;
  }
  std::vector<int32_t> ints(size_t n, int range) {
    std::uniform_int_distribution<int> uniform(-range, range);
    std::vector<int32_t> v(n);
    for (int32_t& x : v) x = uniform(random_);
    return v;
  }
  std::mt19937 random_{11};
  const RowKernels& reference_ = rows_ref();
  const RowKernels& kernels_ = rows_for(GetParam());
};

TEST_P(RowsTest, ActivationsHaveTheBitsOfTheReference) {
  std::vector<float> x = floats(1003, -12, 12);
  for (float v : {0.0f, -0.0f, 5.0f, -5.0f, 1e30f, -1e30f, 1e-40f, std::numeric_limits<float>::infinity(),
                  -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
    x.push_back(v);
  for (const Activation activation : kActivations) {
    std::vector<float> a(x.size()), b(x.size());
    reference_.activate(activation, x.data(), x.size(), a.data());
    kernels_.activate(activation, x.data(), x.size(), b.data());
    for (size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(a[i]) && std::isnan(b[i])) continue;
      ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i])) << x[i];
    }
  }
}

/// Of both signs, and with a payload that could be taken for an exponent.
TEST_P(RowsTest, NaNGoesThroughToFloats) {
  for (const uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7fc00155u, 0xffc001ffu}) {
    const auto nan = std::bit_cast<float>(bits);
    for (const Activation activation : kActivations)
      for (const float clip : {std::numeric_limits<float>::infinity(), 6.0f}) {
        SCOPED_TRACE(::testing::Message() << static_cast<int>(activation) << " " << bits << " " << clip);
        std::vector<float> x(35, 0.5f), y(x.size());
        x[3] = x[34] = nan;
        kernels_.activate(activation, x.data(), x.size(), y.data());
        for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), std::isnan(x[i])) << i;
        for (const size_t columns : {16, 64}) {
          std::vector<int32_t> acc(8 * columns, 3);
          std::vector<float> scale(columns, 0.125f), bias(columns, 0.25f), out(acc.size());
          bias[5] = nan;
          kernels_.requantize({acc.data(), columns, 8, columns, scale.data(), bias.data(), activation, clip,
                               nullptr, nullptr, 0, 0, out.data(), columns});
          for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i % columns == 5) << i;
        }
      }
    std::vector<float> x(35, -1.0f), y(x.size());
    x[7] = x[33] = nan;
    kernels_.exp_nonpositive(x.data(), x.size(), y.data());
    for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), std::isnan(x[i])) << i;
  }
}

TEST_P(RowsTest, RequantizeHasTheBitsOfTheReference) {
  constexpr size_t kRows = 3, kN = 80;
  const auto acc = ints(kRows * kN, 2000000);
  const auto scale = floats(kN, 1e-7f, 1e-5f), bias = floats(kN, -1, 1);
  auto inverse = floats(kN, 5, 40);
  inverse[3] = 1e9f;
  for (const Activation activation : kActivations)
    for (const float clip : {std::numeric_limits<float>::infinity(), 2.0f})
      for (const uint8_t flip : {uint8_t{0}, uint8_t{0x80}}) {
        std::vector<uint8_t> a(kRows * kN), b(kRows * kN);
        std::vector<float> x(kRows * kN), y(kRows * kN);
        RequantizeArgs args{acc.data(), kN,   kRows,          kN,       scale.data(), bias.data(),
                            activation, clip, inverse.data(), a.data(), kN,           flip,
                            nullptr,    0};
        reference_.requantize(args);
        args.codes = b.data();
        kernels_.requantize(args);
        ASSERT_EQ(a, b);
        args.inverse = nullptr;
        args.ldout = kN;
        args.out = x.data();
        reference_.requantize(args);
        args.out = y.data();
        kernels_.requantize(args);
        ASSERT_EQ(std::memcmp(x.data(), y.data(), x.size() * 4), 0);
      }
}

TEST_P(RowsTest, ResidualLayerNormHasTheBitsOfTheReference) {
  for (const size_t used : {size_t{32}, size_t{70}, size_t{80}})
    for (const bool codes : {true, false})
      for (const auto& [local_inverse, with_acc] : {std::pair{25.0f, true}, {0.0f, true}, {0.0f, false}}) {
        constexpr size_t kRows = 7;
        const size_t n = (used + 15) / 16 * 16;
        const auto accumulators = ints(kRows * n, 100000);
        auto scale = floats(n, 1e-6f, 1e-5f), bias = floats(n, -1, 1), gamma = floats(n, 0.5, 2),
             beta = floats(n, -1, 1);
        const auto residual = floats(kRows * n, -3, 3);
        std::vector<uint8_t> residual_codes(kRows * n);
        for (auto& c : residual_codes) c = static_cast<uint8_t>(random_());
        std::vector<float> scratch(n);
        std::vector<uint8_t> out_a(2 * kRows * n), out_b(2 * kRows * n);
        std::vector<float> float_a(kRows * n), float_b(kRows * n);
        const auto run = [&, local_inverse = local_inverse, with_acc = with_acc](
                             const RowKernels& kernels, std::vector<uint8_t>& to, std::vector<float>& out) {
          const CodeOutput outputs[] = {{to.data(), n, 31.0f, 0x80}, {to.data() + kRows * n, n, 9.5f, 0}};
          auto acc = accumulators;
          kernels.residual_layernorm({with_acc ? acc.data() : nullptr,
                                      n,
                                      kRows,
                                      n,
                                      used,
                                      scale.data(),
                                      bias.data(),
                                      local_inverse,
                                      1 / 25.0f,
                                      codes ? residual_codes.data() : nullptr,
                                      n,
                                      0x80,
                                      0.02f,
                                      residual.data(),
                                      n,
                                      gamma.data(),
                                      beta.data(),
                                      1e-12f,
                                      scratch.data(),
                                      out.data(),
                                      n,
                                      outputs,
                                      2});
        };
        run(reference_, out_a, float_a);
        run(kernels_, out_b, float_b);
        ASSERT_EQ(out_a, out_b);
        ASSERT_EQ(std::memcmp(float_a.data(), float_b.data(), float_a.size() * 4), 0);
        // Against double precision: mean 0 and variance 1 before gamma and beta.
        for (size_t m = 0; m < kRows; ++m) {
          double sum = 0, squares = 0;
          for (size_t j = 0; j < used; ++j) {
            const double z = (double(float_a[m * n + j]) - beta[j]) / gamma[j];
            sum += z;
            squares += z * z;
          }
          EXPECT_NEAR(sum / static_cast<double>(used), 0, 1e-5);
          EXPECT_NEAR(squares / static_cast<double>(used), 1, 1e-5);
        }
      }
}

TEST_P(RowsTest, LayerNormOfCodesHasTheBitsOfLayerNormOfTheirProduct) {
  for (const size_t used : {size_t{32}, size_t{70}, size_t{80}})
    for (const bool residual_codes : {true, false}) {
      constexpr size_t kRows = 7;
      const size_t n = (used + 15) / 16 * 16, ld = n + 64;
      auto acc = ints(kRows * n, 100000);
      const auto scale = floats(n, 1e-6f, 1e-5f), bias = floats(n, -1, 1), gamma = floats(n, 0.5, 2),
                 beta = floats(n, -1, 1), residual = floats(kRows * n, -3, 3);
      const std::vector<float> inverse(n, 25.0f);
      std::vector<uint8_t> codes(kRows * n), local(kRows * ld), out_a(kRows * n), out_b(kRows * n);
      for (auto& c : codes) c = static_cast<uint8_t>(random_());
      reference_.requantize({acc.data(), n, kRows, n, scale.data(), bias.data(), Activation::kNone,
                             std::numeric_limits<float>::infinity(), inverse.data(), local.data(), ld, 0,
                             nullptr, 0});
      std::vector<float> scratch(4 * n), float_a(kRows * n), float_b(kRows * n);
      CodeOutput output{out_a.data(), n, 31.0f, 0x80};
      ResidualLayerNormArgs args{};
      args.acc = acc.data();
      args.ldacc = args.n = args.ldresidual_codes = args.ldresidual = args.ldout = n;
      args.rows = kRows;
      args.n_used = used;
      args.scale = scale.data();
      args.bias = bias.data();
      args.local_inverse = 25.0f;
      args.local_scale = 1 / 25.0f;
      args.residual_codes = residual_codes ? codes.data() : nullptr;
      args.residual_flip = 0x80;
      args.residual_scale = 0.02f;
      args.residual = residual.data();
      args.gamma = gamma.data();
      args.beta = beta.data();
      args.epsilon = 1e-12f;
      args.row_scratch = scratch.data();
      args.out = float_a.data();
      args.outputs = &output;
      args.output_count = 1;
      reference_.residual_layernorm(args);
      args.acc = nullptr;
      args.local_codes = local.data();
      args.ldlocal_codes = ld;
      args.out = float_b.data();
      output.codes = out_b.data();
      kernels_.residual_layernorm(args);
      ASSERT_EQ(out_a, out_b);
      ASSERT_EQ(std::memcmp(float_a.data(), float_b.data(), float_a.size() * 4), 0);
    }
}

TEST_P(RowsTest, SoftmaxHasTheBitsOfTheReferenceAndIgnoresPadding) {
  for (const size_t keys : {size_t{1}, size_t{15}, size_t{16}, size_t{37}, size_t{384}}) {
    constexpr size_t kRows = 7;
    const size_t padded = (keys + 63) / 64 * 64;
    const auto scores = ints(kRows * padded, 3000);
    const auto run = [&](const RowKernels& kernels, size_t width, uint8_t fill) {
      std::vector<int32_t> acc(kRows * padded);
      for (size_t m = 0; m < kRows; ++m)
        for (size_t j = 0; j < padded; ++j)
          acc[m * padded + j] = j < keys ? scores[m * padded + j] : int32_t(fill) << 20;
      std::vector<uint8_t> codes(kRows * padded, 0xee);
      kernels.softmax(
          {acc.data(), padded, kRows, keys, width, 0.004f, 127.0f, codes.data(), padded, 0x80, 0x80});
      return codes;
    };
    const auto expected = run(reference_, padded, 0);
    ASSERT_EQ(expected, run(kernels_, padded, 0)) << keys;
    ASSERT_EQ(expected, run(kernels_, padded, 77)) << keys;
    for (size_t m = 0; m < kRows; ++m) {
      // Against double precision: a code may differ only where the exact value is within 1e-4 of a tie.
      double sum = 0;
      for (size_t j = 0; j < keys; ++j) sum += std::exp(0.004 * scores[m * padded + j] - 12);
      for (size_t j = 0; j < keys; ++j) {
        const double exactly = 127 * std::exp(0.004 * scores[m * padded + j] - 12) / sum;
        EXPECT_LE(std::abs((expected[m * padded + j] ^ 0x80) - exactly), 0.5 + 1e-4);
      }
      int total = 0;
      for (size_t j = 0; j < padded; ++j) total += expected[m * padded + j] ^ 0x80;
      EXPECT_NEAR(total, 127, 0.5 * static_cast<double>(keys) + 1);
    }
  }
}

TEST_P(RowsTest, LinearHasOneResultWhateverTheTileThePieceAndTheIsa) {
  for (const auto& sizes :
       {std::pair<size_t, size_t>{1, 1}, {48, 2}, {75, 3}, {64, 8}, {50, 9}, {33, 16}, {75, 40}, {96, 97}}) {
    constexpr size_t kRows = 29;
    const size_t k = sizes.first, n = sizes.second;
    const size_t lda = k + 3, ldout = n + 1;
    const auto a = floats(kRows * lda, -2, 2), w = floats(k * n, -1, 1), bias = floats(n, -1, 1);
    std::vector<float> packed(packed_f32_size(k, n)), transposed(packed.size());
    pack_f32({w.data(), k, n, 1, k}, packed.data());
    std::vector<float> other(k * n);
    for (size_t i = 0; i < k; ++i)
      for (size_t j = 0; j < n; ++j) other[i * n + j] = w[j * k + i];
    pack_f32({other.data(), k, n, n, 1}, transposed.data());
    ASSERT_EQ(packed, transposed);
    const auto run = [&](const RowKernels& kernels, size_t first, size_t rows, const float* start) {
      std::vector<float> out(rows * ldout, 77.0f);
      kernels.linear_f32(
          {a.data() + first * lda, lda, rows, k, n, packed.data(), narrow_f32(n), start, out.data(), ldout});
      return out;
    };
    // The definition, in scalars.
    std::vector<float> expected(kRows * ldout, 77.0f);
    for (size_t m = 0; m < kRows; ++m)
      for (size_t j = 0; j < n; ++j) {
        float sum = bias[j];
        double exactly = bias[j], magnitude = 1;
        float lane[16] = {};
        for (size_t i = 0; i < k; ++i) {
          const float x = a[m * lda + i], y = w[j * k + i];
          sum = std::fma(x, y, sum);
          lane[i % 16] = std::fma(x, y, lane[i % 16]);
          exactly += double(x) * y;
          magnitude += std::abs(double(x) * y);
        }
        for (size_t width = 8; width > 0; width /= 2)
          for (size_t i = 0; i < width; ++i) lane[i] += lane[i + width];
        expected[m * ldout + j] = narrow_f32(n) ? lane[0] + bias[j] : sum;
        // k + 1 roundings, each of half an ulp of at most the sum of magnitudes.
        EXPECT_NEAR(expected[m * ldout + j], exactly, magnitude * static_cast<double>(k + 1) * 0x1p-24);
      }
    ASSERT_EQ(run(kernels_, 0, kRows, bias.data()), expected) << k << " x " << n;
    for (size_t first : {size_t{0}, size_t{5}, kRows - 1}) {
      const auto one = run(kernels_, first, 1, bias.data());
      ASSERT_EQ(std::memcmp(one.data(), expected.data() + first * ldout, n * sizeof(float)), 0)
          << "row alone";
    }
    ASSERT_EQ(run(kernels_, 0, kRows, nullptr), run(reference_, 0, kRows, nullptr));
    if (n <= 16) continue;
    std::vector<float> pieces(kRows * ldout, 77.0f);
    for (size_t j = 0; j < n; j += 32)
      kernels_.linear_f32({a.data(), lda, kRows, k, std::min<size_t>(32, n - j), packed.data() + j * k, false,
                           bias.data() + j, pieces.data() + j, ldout});
    ASSERT_EQ(pieces, expected);
  }
}

TEST_P(RowsTest, DequantizeAndAddHandleAnyLength) {
  for (const size_t n : {size_t{1}, size_t{15}, size_t{16}, size_t{53}})
    for (const uint8_t flip : {uint8_t{0}, uint8_t{0x80}}) {
      std::vector<uint8_t> codes(n);
      for (auto& c : codes) c = static_cast<uint8_t>(random_());
      std::vector<float> y(n + 1, 5.0f);
      kernels_.dequantize(codes.data(), n, 0.037f, flip, y.data());
      for (size_t i = 0; i < n; ++i)
        ASSERT_EQ(y[i], static_cast<float>(static_cast<int8_t>(codes[i] ^ flip)) * 0.037f);
      const auto b = floats(n, -1, 1);
      auto sum = y;
      kernels_.add(y.data(), b.data(), n, sum.data());
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(sum[i], y[i] + b[i]);
      ASSERT_EQ(sum[n], 5.0f);
    }
}

TEST_P(RowsTest, QuantizeRoundsTiesToEvenAndSaturates) {
  std::vector<float> x = {0.5f,   1.5f, 2.5f,    -0.5f,     -1.5f, 126.5f,
                          127.5f, 1e9f, -127.5f, -128.5f,   -1e9f, std::numeric_limits<float>::quiet_NaN(),
                          0.0f,   3.0f, -3.0f,   64.49999f, 7.0f,  -7.0f};
  const std::vector<int> expected = {0,    2,    2,    0, -2, 126, 127, 127, -128,
                                     -128, -128, -128, 0, 3,  -3,  64,  7,   -7};
  std::vector<uint8_t> codes(x.size() + 1, 0x11);
  kernels_.quantize(x.data(), x.size(), 1.0f, 0, codes.data());
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(static_cast<int8_t>(codes[i]), expected[i]) << x[i];
  EXPECT_EQ(codes.back(), 0x11);
}

INSTANTIATE_TEST_SUITE_P(Isas, RowsTest, ::testing::ValuesIn(machine_isas()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace qdqbert::engine
