// The fused product and requantization of the AMX kernel on emulated tiles (see amx_walk_test.cc). Its vector
// part is AVX-512, so it runs where a processor has that, with AMX or without.
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "qdqbert/base/cpu_features.h"

#include "tests/engine/gemm_problem.h"
#include "tests/engine/tile_instructions.h"
#include "tests/engine/tile_macros.h"
// This definition stands before the library's in the link, so the kernel table leads to it.
#include "qdqbert/engine/kernels/gemm_s8_requantize_amxint8.cc"

namespace qdqbert::engine {
namespace {

class AmxRequantizeWalkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!supports(Isa::kAvx512Vnni)) GTEST_SKIP() << "this processor has no AVX-512";
    kernel_ = *find_gemm_s8("amxint8");
    ASSERT_EQ(kernel_.run_requantize, &gemm_s8_requantize_amxint8);
    run_stepwise(tiles, [] { gemm_s8_enter_amxint8(); });
  }
  void TearDown() override {
    if (!kernel_.run) return;
    run_stepwise(tiles, [] { gemm_s8_leave_amxint8(); });
    EXPECT_EQ(tiles.fault, "");
  }

  struct Result {
    std::vector<uint8_t> codes, expected;
  };

  /// `rows` of `k` times n columns, rows of A `lda` apart, to codes `n + 5` apart; expected by the reference.
  Result run(size_t rows, size_t n, size_t k, size_t lda, Activation activation, float inverse, float clip) {
    std::uniform_int_distribution<int> code(-128, 127);
    Problem p{rows, n, k, std::vector<int8_t>(rows * k), std::vector<int8_t>(k * n)};
    for (int8_t& v : p.a) v = static_cast<int8_t>(code(random_));
    for (int8_t& v : p.b) v = static_cast<int8_t>(code(random_));
    const size_t panels = n / kernel_.columns;
    const Aligned packed(panels * panel_bytes(kernel_, k));
    pack_panels(kernel_, {p.b.data(), k, n, n, 1}, packed.data);
    // Exactly what may be read: rows up to the next multiple of row_overread.
    const size_t readable = (rows + kernel_.row_overread - 1) / kernel_.row_overread * kernel_.row_overread;
    std::vector<uint8_t> a(readable * lda, 0x5a);
    for (size_t m = 0; m < rows; ++m) std::memcpy(a.data() + m * lda, p.a.data() + m * k, k);
    const size_t ld = n + 5;
    Result result{std::vector<uint8_t>(rows * ld, 7), std::vector<uint8_t>(rows * ld, 7)};
    std::vector<float> scale(n), bias(n), inverses(n, inverse);
    for (size_t j = 0; j < n; ++j) {
      scale[j] = 1e-5f * static_cast<float>(1 + j % 7);
      bias[j] = 0.1f * static_cast<float>(j % 5) - 0.25f;
    }
    std::vector<int32_t> acc = plain(p);
    RequantizeArgs args{acc.data(),
                        n,
                        rows,
                        n,
                        scale.data(),
                        bias.data(),
                        activation,
                        clip,
                        inverses.data(),
                        result.expected.data(),
                        ld,
                        0,
                        nullptr,
                        0};
    rows_ref().requantize(args);
    args.acc = nullptr;
    args.codes = result.codes.data();
    alignas(64) int32_t scratch[kRequantizeScratch];
    kernel_.run_requantize(a.data(), lda, packed.data, k, scratch, {packed.data, 1000}, args);
    return result;
  }

  GemmS8Kernel kernel_{};
  std::mt19937 random_{23};
};

constexpr float kNoClip = std::numeric_limits<float>::infinity();

TEST_F(AmxRequantizeWalkTest, EqualsTheReferenceOnEveryRemainder) {
  for (size_t rows = 1; rows <= 67; ++rows) {
    const Result r = run(rows, 64, 192, 192, Activation::kNone, 25.0f, kNoClip);
    ASSERT_EQ(r.codes, r.expected) << rows;
    ASSERT_EQ(tiles.fault, "") << rows;
  }
}

TEST_F(AmxRequantizeWalkTest, EqualsTheReferenceWhateverTheLengthAndTheActivation) {
  // One step, fewer steps than units, as many, more; rows beyond the first-level cache; distances of rows
  // that are no multiple of their length.
  for (const auto& [k, lda] :
       {std::pair<size_t, size_t>{64, 64}, {128, 192}, {1024, 1024}, {1088, 1088}, {1152, 3136}})
    for (int kind = 0; kind <= static_cast<int>(Activation::kRelu2); ++kind)
      for (const float inverse : {25.0f, 3e9f})
        for (const float clip : {kNoClip, 2.0f}) {
          const Result r = run(41, 96, k, lda, static_cast<Activation>(kind), inverse, clip);
          ASSERT_EQ(r.codes, r.expected)
              << k << " activation " << kind << " inverse " << inverse << " clip " << clip;
          ASSERT_EQ(tiles.fault, "");
        }
}

TEST_F(AmxRequantizeWalkTest, DoesNoMoreProductsThanTheShapeNeeds) {
  tiles.products = 0;
  run(96, 64, 1536, 1600, Activation::kGelu, 25.0f, kNoClip);
  EXPECT_EQ(tiles.products, size_t{96 / 16 * 64 / 16 * 1536 / 64});
  tiles.products = 0;
  run(16, 64, 1536, 1600, Activation::kGelu, 25.0f, kNoClip);
  EXPECT_EQ(tiles.products, size_t{64 / 16 * 1536 / 64});
}

}  // namespace
}  // namespace qdqbert::engine
