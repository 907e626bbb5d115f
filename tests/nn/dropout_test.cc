#include "qdqbert/nn/dropout.h"

#include <cmath>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/base/error.h"
#include "qdqbert/nn/kernels/rows.h"

namespace qdqbert::nn {
namespace {

// Every table that this processor can run.
std::vector<const RowKernels*> tables() {
  std::vector<const RowKernels*> all = {&kRowKernelsRef};
  for (const Isa isa : kIsas)
    if (supports(isa) && all.back() != &row_kernels_for(isa)) all.push_back(&row_kernels_for(isa));
  return all;
}

// Philox4x32-10 as its authors define it, one counter at a time.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(a)};
    k = {k[0] + 0x9E3779B9, k[1] + 0xBB67AE85};
  }
  return c;
}

TEST(DropoutMask, IsPhiloxOnEveryInstructionSet) {
  // Known answers of the Random123 distribution.
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox({}, {}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));

  const RandomStream stream{0x0123456789abcdef, 0x1122334455667788, 42};
  const uint32_t threshold = 0x40000000;
  for (const RowKernels* table : tables()) {
    uint64_t words[3];
    table->random_mask(&stream, 7, 3, threshold, words);
    for (uint32_t e = 0; e < 192; ++e) {
      const uint32_t n = (e / 64 + 7) * 16 + e % 16;
      const auto random = philox({n, 42, 0x55667788, 0x11223344}, {0x89abcdef, 0x01234567})[e % 64 / 16];
      EXPECT_EQ(words[e / 64] >> e % 64 & 1, random >= threshold ? 1U : 0U) << table->isa << " " << e;
    }
  }
}

TEST(DropoutMask, IsAppliedFromAnyBitOnEveryInstructionSet) {
  const RandomStream stream{1, 2, 3};
  uint64_t mask[5];
  kRowKernelsRef.random_mask(&stream, 0, 4, 0x80000000, mask);
  mask[4] = 0;
  std::vector<float> x(150);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) - 70.25F;
  for (const RowKernels* table : tables()) {
    for (size_t offset = 0; offset < 67; ++offset) {
      for (const size_t n : {size_t{1}, size_t{16}, size_t{37}, size_t{150}}) {
        std::vector<float> y(n + 1, 5.0F);
        table->apply_mask(x.data(), mask, offset, 1.25F, n, y.data());
        for (size_t i = 0; i < n; ++i) {
          const bool kept = mask[(offset + i) / 64] >> (offset + i) % 64 & 1;
          ASSERT_EQ(y[i], kept ? x[i] * 1.25F : 0.0F) << table->isa << " " << offset << " " << i;
        }
        ASSERT_EQ(y[n], 5.0F) << table->isa << " writes past the end";
      }
    }
  }
}

TEST(Dropout, KeepsWithTheAskedProbabilityAndScalesTheRest) {
  constexpr int64_t kCount = 1 << 20;
  for (const double p : {0.1, 0.5, 0.9, 0.003}) {
    begin_dropout(11, 4);
    const at::Tensor y = dropout(at::ones({kCount}), p);
    const double kept = y.ne(0).sum().item<double>();
    // Five standard deviations of a binomial.
    EXPECT_NEAR(kept / kCount, 1 - p, 5 * std::sqrt(p * (1 - p) / kCount)) << p;
    EXPECT_EQ(y.max().item<float>(), static_cast<float>(1 / (1 - p)));
    // Neighbours, and elements of neighbouring words, know nothing of each other.
    const at::Tensor centred = y.ne(0).to(at::kDouble) - (1 - p);
    for (const int64_t lag : {1, 2, 16, 64, 1024}) {
      const double correlation =
          (centred.slice(0, lag) * centred.slice(0, 0, kCount - lag)).mean().item<double>() / (p * (1 - p));
      EXPECT_LT(std::fabs(correlation), 5 / std::sqrt(static_cast<double>(kCount - lag))) << p << " " << lag;
    }
  }
  EXPECT_EQ(dropout(at::ones({100}), 1.0).abs().sum().item<float>(), 0);
  const at::Tensor x = at::ones({3});
  EXPECT_TRUE(dropout(x, 0).is_same(x));
  EXPECT_THROW(dropout(x, 1.5), InputError);
}

TEST(Dropout, IsAFunctionOfSeedStepAndCallForAnyNumberOfThreads) {
  const at::Tensor x = at::ones({517, 131});
  const auto first_two = [&](uint64_t seed, uint64_t step) {
    begin_dropout(seed, step);
    return std::pair(dropout(x, 0.3), dropout(x, 0.3));
  };
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto [a, b] = first_two(5, 9);
  at::set_num_threads(3);
  const auto [c, d] = first_two(5, 9);
  at::set_num_threads(before);
  EXPECT_TRUE(a.equal(c));
  EXPECT_TRUE(b.equal(d));
  EXPECT_FALSE(a.equal(b));
  EXPECT_FALSE(a.equal(first_two(6, 9).first));
  EXPECT_FALSE(a.equal(first_two(5, 10).first));

  // Where nobody counts, LibTorch's seed decides.
  set_dropout_position({});
  at::manual_seed(1);
  const at::Tensor e = dropout(x, 0.3), f = dropout(x, 0.3);
  at::manual_seed(1);
  EXPECT_TRUE(dropout(x, 0.3).equal(e));
  EXPECT_FALSE(f.equal(e));
}

TEST(Dropout, PassesGradientsThroughTheSameMask) {
  begin_dropout(1, 1);
  at::Tensor x = at::randn({33, 17}).requires_grad_();
  const at::Tensor y = dropout(x, 0.4), weight = at::randn({33, 17});
  (y * weight).sum().backward();
  EXPECT_TRUE(x.grad().equal(at::where(y.eq(0), 0.0F, weight * static_cast<float>(1 / (1 - 0.4)))));

  // Other types and layouts take the same elements.
  begin_dropout(1, 1);
  EXPECT_TRUE(dropout(x.detach().to(at::kDouble), 0.4).eq(0).equal(y.eq(0)));
  begin_dropout(1, 1);
  const at::Tensor strided = x.detach().t().contiguous().t();
  EXPECT_TRUE(dropout(strided, 0.4).equal(y));
  set_dropout_position({});
}

}  // namespace
}  // namespace qdqbert::nn
