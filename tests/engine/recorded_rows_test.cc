// The row kernels' results as recorded bits. rows_test.cc compares instruction sets with the scalar reference
// of the same processor; this says that the reference is the same one everywhere.
//
// The digest was recorded on x86-64, where ref, avx2 and avx512 agreed. It changes with rows_generic.inc
// and with the inputs below: then take the new one from the message of the failing test,
// when all instruction sets print the same.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "qdqbert/engine/kernels/select.h"

#include "tests/engine/machine_isas.h"
#include "tests/support/recorded_bits.h"

namespace qdqbert::engine {
namespace {

using qdqbert::testing::defined_floats;
using qdqbert::testing::RecordedBits;

constexpr const char* kDigest = "0d5c86f5d48e6c29636c65b184494d98644f5210e87e1a695da005f764189b1a";
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kRows = 3, kN = 80;

class RecordedRows : public ::testing::TestWithParam<Isa> {
 protected:
  std::vector<float> floats(size_t n, float low, float high) { return defined_floats(random_, n, low, high); }
  std::vector<int32_t> ints(size_t n, int32_t range) {
    std::vector<int32_t> values(n);
    for (int32_t& value : values)
      value = static_cast<int32_t>(random_() % static_cast<uint32_t>(2 * range)) - range;
    return values;
  }

  void activations() {
    std::vector<float> x = floats(4000, -12, 12), y;
    for (const float value :
         {0.0f, -0.0f, 5.0f, -5.0f, 87.0f, -87.0f, 1e30f, -1e30f, 1e-40f, -1e-40f, kInfinity, -kInfinity,
          std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN()})
      x.push_back(value);
    y.resize(x.size());
    for (int kind = 0; kind <= static_cast<int>(Activation::kRelu2); ++kind) {
      kernels_.activate(static_cast<Activation>(kind), x.data(), x.size(), y.data());
      bits_.add(y);
    }
    std::vector<uint8_t> codes(x.size());
    for (const float inverse : {1.0f, 12.7f, 1e9f, 1e38f, kInfinity}) {
      kernels_.quantize(x.data(), x.size(), inverse, 0x80, codes.data());
      bits_.add(codes);
    }
    kernels_.dequantize(codes.data(), codes.size(), 0.037f, 0x80, y.data());
    bits_.add(y);
  }

  void requantized() {
    auto acc = ints(kRows * kN, 2000000);
    acc[0] = INT32_MIN;
    acc[1] = INT32_MAX;
    const auto scale = floats(kN, 1e-7f, 1e-5f), bias = floats(kN, -1, 1);
    auto inverse = floats(kN, 5, 40);
    inverse[3] = 1e9f;
    for (int kind = 0; kind <= static_cast<int>(Activation::kRelu2); ++kind) {
      std::vector<uint8_t> codes(kRows * kN);
      std::vector<float> out(kRows * kN);
      RequantizeArgs args{};
      args.acc = acc.data();
      args.ldacc = args.n = args.ldcodes = args.ldout = kN;
      args.rows = kRows;
      args.scale = scale.data();
      args.bias = bias.data();
      args.activation = static_cast<Activation>(kind);
      args.clip = kind % 2 ? 2.0f : kInfinity;
      args.inverse = inverse.data();
      args.codes = codes.data();
      args.flip = 0x80;
      kernels_.requantize(args);
      bits_.add(codes);
      args.inverse = nullptr;
      args.out = out.data();
      kernels_.requantize(args);
      bits_.add(out);
    }
  }

  void normalized() {
    const size_t used = kN - 10;
    auto acc = ints(kRows * kN, 100000);
    const auto scale = floats(kN, 1e-6f, 1e-5f), bias = floats(kN, -1, 1), gamma = floats(kN, 0.5f, 2),
               beta = floats(kN, -1, 1), residual = floats(kRows * kN, -3, 3);
    std::vector<float> scratch(kN), out(kRows * kN);
    std::vector<uint8_t> codes(kRows * kN);
    const CodeOutput output = {codes.data(), kN, 31.0f, 0x80};
    ResidualLayerNormArgs args{};
    args.acc = acc.data();
    args.ldacc = args.n = args.ldresidual = args.ldout = kN;
    args.rows = kRows;
    args.n_used = used;
    args.scale = scale.data();
    args.bias = bias.data();
    args.local_inverse = 25.0f;
    args.local_scale = 1 / 25.0f;
    args.residual = residual.data();
    args.gamma = gamma.data();
    args.beta = beta.data();
    args.epsilon = 1e-12f;
    args.row_scratch = scratch.data();
    args.out = out.data();
    args.outputs = &output;
    args.output_count = 1;
    kernels_.residual_layernorm(args);
    for (size_t m = 0; m < kRows; ++m) {
      bits_.add(std::span(codes).subspan(m * kN, used));
      bits_.add(std::span(out).subspan(m * kN, used));
    }
  }

  void weighted() {
    for (const size_t keys : {size_t{1}, size_t{37}, size_t{384}}) {
      const size_t padded = (keys + 63) / 64 * 64;
      auto acc = ints(kRows * padded, 3000);
      std::vector<uint8_t> codes(kRows * padded);
      kernels_.softmax(
          {acc.data(), padded, kRows, keys, padded, 0.004f, 127.0f, codes.data(), padded, 0x80, 0x80});
      bits_.add(codes);
    }
  }

  void products() {
    for (const size_t n : {size_t{2}, size_t{40}}) {
      const size_t k = 75;
      const auto a = floats(kRows * k, -2, 2), w = floats(k * n, -1, 1), bias = floats(n, -1, 1);
      std::vector<float> packed(packed_f32_size(k, n)), out(kRows * n);
      pack_f32({w.data(), k, n, 1, k}, packed.data());
      kernels_.linear_f32(
          {a.data(), k, kRows, k, n, packed.data(), narrow_f32(n), bias.data(), out.data(), n});
      bits_.add(out);
    }
  }

  std::mt19937 random_{11};
  const RowKernels& kernels_ = rows_for(GetParam());
  RecordedBits bits_;
};

TEST_P(RecordedRows, HaveTheRecordedBits) {
  activations();
  requantized();
  normalized();
  weighted();
  products();
  EXPECT_EQ(bits_.digest(), kDigest);
}

INSTANTIATE_TEST_SUITE_P(Isas, RecordedRows, ::testing::ValuesIn(machine_isas()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace qdqbert::engine
