#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "qdqbert/engine/float_control.h"
#include "qdqbert/engine/kernels/illegal_instruction.h"
#include "qdqbert/engine/kernels/self_check.h"

namespace qdqbert::engine {

namespace {

/// What row kernels read and write. Sizes leave remainders where there is a step of more than one.
struct RowSamples {
  static constexpr size_t kRows = 9, kN = 48, kUsed = 39, kValues = 53;
  static constexpr size_t kLinearRows = 13, kLinearLd = 32, kLinearN = 43, kK = 9;
  // Inputs.
  std::array<float, kValues> x, below;
  std::array<float, kN> scale, bias, inverse, gamma, beta;
  std::array<float, kRows * kN> residual;
  std::array<float, kN * kK> wide;
  std::array<float, 3 * 16> narrow;
  std::array<uint8_t, kRows * kN> residual_codes;
  std::array<int32_t, kRows * kN> acc;  ///< some kernels write over it
  std::array<float, 4 * kN> rows;       ///< room for rows of LayerNorm
  // Results.
  struct Results {
    std::array<float, kLinearRows * kN> floats, more_floats;
    std::array<uint8_t, kRows * kN> codes;
  } results;
};

std::unique_ptr<RowSamples> random_rows() {
  auto s = std::make_unique<RowSamples>();
  std::minstd_rand random(3);
  const auto fill = [&](auto& values, float low, float high) {
    for (float& v : values) v = low + (high - low) * static_cast<float>(random() >> 8 & 0xffff) * 0x1p-16f;
  };
  fill(s->x, -12, 12);
  fill(s->below, -90, 0);
  fill(s->scale, 0.001f, 0.002f);
  fill(s->bias, -1, 1);
  fill(s->inverse, 5, 20);
  fill(s->gamma, -2, 2);
  fill(s->beta, -1, 1);
  fill(s->residual, -3, 3);
  fill(s->wide, -1, 1);
  fill(s->narrow, -1, 1);
  for (uint8_t& code : s->residual_codes) code = static_cast<uint8_t>(random() >> 8);
  for (int32_t& sum : s->acc) sum = static_cast<int32_t>(random() >> 8 & 0x3fff) - 0x2000;
  s->results = {};
  return s;
}

using S = RowSamples;

struct RowCase {
  const char* name;
  void (*run)(const RowKernels&, RowSamples&);
};

void requantize(const RowKernels& rows, RowSamples& s) {
  RequantizeArgs args{s.acc.data(),
                      S::kN,
                      S::kRows,
                      S::kN,
                      s.scale.data(),
                      s.bias.data(),
                      Activation::kGelu,
                      10.0f,
                      s.inverse.data(),
                      s.results.codes.data(),
                      S::kN,
                      0x80,
                      nullptr,
                      0};
  rows.requantize(args);
  args.activation = Activation::kNone;
  args.inverse = nullptr;
  args.out = s.results.floats.data();
  args.ldout = S::kN;
  rows.requantize(args);
}

void residual_layernorm(const RowKernels& rows, RowSamples& s) {
  const CodeOutput output{s.results.codes.data(), S::kN, 30.0f, 0};
  ResidualLayerNormArgs args{s.acc.data(),   S::kN,         S::kRows, S::kN,   S::kUsed,
                             s.scale.data(), s.bias.data(), 20.0f,    0.05f,   s.residual_codes.data(),
                             S::kN,          0x80,          0.02f,    nullptr, 0,
                             s.gamma.data(), s.beta.data(), 1e-12f,   nullptr, s.results.floats.data(),
                             S::kN,          &output,       1};
  rows.residual_layernorm(args);
  // From codes of the product.
  args.acc = nullptr;
  args.local_codes = s.residual_codes.data();
  args.ldlocal_codes = S::kN;
  args.row_scratch = s.rows.data();
  rows.residual_layernorm(args);
  // Without a product, from floats.
  args.local_codes = nullptr;
  args.acc = nullptr;
  args.local_inverse = 0;
  args.residual_codes = nullptr;
  args.residual = s.residual.data();
  args.ldresidual = S::kN;
  args.out = s.results.more_floats.data();
  args.output_count = 0;
  rows.residual_layernorm(args);
}

void softmax(const RowKernels& rows, RowSamples& s) {
  rows.softmax({s.acc.data(), S::kN, S::kRows, S::kUsed, S::kN, 0.001f, 127.0f, s.results.codes.data(), S::kN,
                0x80, 0x80});
}

void quantize(const RowKernels& rows, RowSamples& s) {
  rows.quantize(s.x.data(), S::kValues, 15.0f, 0x80, s.results.codes.data());
}

void dequantize(const RowKernels& rows, RowSamples& s) {
  rows.dequantize(s.residual_codes.data(), S::kValues, 0.037f, 0x80, s.results.floats.data());
}

void add(const RowKernels& rows, RowSamples& s) {
  rows.add(s.x.data(), s.below.data(), S::kValues, s.results.floats.data());
}

void linear_f32(const RowKernels& rows, RowSamples& s) {
  // Packed weights of 48 and 3 columns are random numbers like others.
  LinearF32Args args{s.residual.data(),
                     S::kLinearLd,
                     S::kLinearRows,
                     S::kK,
                     S::kLinearN,
                     s.wide.data(),
                     false,
                     s.bias.data(),
                     s.results.floats.data(),
                     S::kN};
  rows.linear_f32(args);
  args.n = 3;
  args.weight = s.narrow.data();
  args.narrow = true;
  args.out = s.results.more_floats.data();
  rows.linear_f32(args);
}

void activate(const RowKernels& rows, RowSamples& s) {
  constexpr size_t kEach = 19;
  for (size_t kind = 0; kind <= static_cast<size_t>(Activation::kRelu2); ++kind)
    rows.activate(static_cast<Activation>(kind), s.x.data() + 2 * kind, kEach,
                  s.results.floats.data() + kind * kEach);
}

void exp_nonpositive(const RowKernels& rows, RowSamples& s) {
  rows.exp_nonpositive(s.below.data(), S::kValues, s.results.floats.data());
}

constexpr RowCase kRowCases[] = {
    {"requantize", requantize}, {"residual_layernorm", residual_layernorm},
    {"softmax", softmax},       {"quantize", quantize},
    {"dequantize", dequantize}, {"add", add},
    {"linear_f32", linear_f32}, {"activate", activate},
    {"exp", exp_nonpositive},
};

std::string fault_of(const RowCase& row, const RowKernels& rows, const RowSamples& samples) {
  const auto expected = std::make_unique<RowSamples>(samples), found = std::make_unique<RowSamples>(samples);
  row.run(rows_ref(), *expected);
  if (!survives([&] { row.run(rows, *found); }))
    return fmt::format("{} meets an illegal instruction", row.name);
  if (std::memcmp(&expected->results, &found->results, sizeof(RowSamples::Results)) != 0)
    return fmt::format("{} computes wrongly", row.name);
  return "";
}

}  // namespace

std::string fault_of(const RowKernels& rows) {
  const StandardFloatControl control;
  const std::unique_ptr<RowSamples> samples = random_rows();
  std::vector<std::string> faults;
  for (const RowCase& row : kRowCases)
    if (std::string fault = fault_of(row, rows, *samples); !fault.empty()) faults.push_back(std::move(fault));
  return fmt::format("{}", fmt::join(faults, ", "));
}

}  // namespace qdqbert::engine
