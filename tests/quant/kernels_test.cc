// Every table against the plain one, bit for bit.
#include "qdqbert/quant/kernels.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/base/error.h"
#include "qdqbert/quant/bin_counter.h"

namespace qdqbert::quant {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// QDQBERT_TEST_SEED repeats a run.
uint32_t seed() {
  static const uint32_t value = [] {
    const char* set = std::getenv("QDQBERT_TEST_SEED");
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    return set ? static_cast<uint32_t>(std::strtoul(set, nullptr, 10)) : static_cast<uint32_t>(now);
  }();
  return value;
}

std::vector<const Kernels*> other_tables() {
  std::vector<const Kernels*> tables = {&kKernelsRef};
  for (const Isa isa : kIsas)
    if (supports(isa) && tables.back() != &kernels_for(isa)) tables.push_back(&kernels_for(isa));
  tables.erase(tables.begin());
  return tables;
}

/// Values around which rounding, clamping and comparing change: ties and their neighbours on the grid of
/// `scale`, bounds, zeros, denormals, infinities, NaN; then random ones.
std::vector<float> inputs(float scale, size_t random_count) {
  std::vector<float> x = {0.0f,       -0.0f, 1e-45f, -1e-45f, 1e-38f, kInfinity,
                          -kInfinity, kNan,  3e38f,  -3e38f,  9.3e18f};
  for (int k = -130; k <= 130; ++k) {
    const float tie = (static_cast<float>(k) + 0.5f) / scale;
    for (const float value : {tie, std::nextafter(tie, kInfinity), std::nextafter(tie, -kInfinity),
                              static_cast<float>(k) / scale})
      x.push_back(value);
  }
  std::mt19937 random(seed());
  std::normal_distribution<float> normal(0, 60 / scale);
  for (size_t i = 0; i < random_count; ++i) x.push_back(normal(random));
  return x;
}

std::vector<uint32_t> bits(const std::vector<float>& values) {
  std::vector<uint32_t> out;
  for (const float value : values)
    out.push_back(value != value ? 0x7fc00000u : std::bit_cast<uint32_t>(value));
  return out;
}

class EveryTable : public ::testing::TestWithParam<const Kernels*> {
 protected:
  EveryTable() : trace_(__FILE__, __LINE__, "QDQBERT_TEST_SEED=" + std::to_string(seed())) {}
  ::testing::ScopedTrace trace_;
};

struct Grid {
  float scale, divisor, lower, upper;
};
constexpr Grid kGrids[] = {{1, 1, -128, 127},
                           {181.42857f, 181.42857f, -127, 127},
                           {0.731f, 0.731f, 0, 255},
                           {3.1f, 3.1f, -8, 7},
                           {20000.7f, 20000.7f, -32768, 32767},
                           {0, 1, -128, 127},
                           {kInfinity, kInfinity, -128, 127},
                           {kNan, kNan, -128, 127},
                           {0, 0, 0, 0}};

TEST_P(EveryTable, Quantize) {
  for (const Grid& grid : kGrids) {
    const float usable = std::isfinite(grid.scale) && grid.scale > 0 ? grid.scale : 1;
    const std::vector<float> all = inputs(usable, 2000);
    for (size_t n = 0; n <= 70; ++n) {
      for (const size_t from : {size_t{0}, size_t{3}, all.size() - n}) {
        const std::vector<float> x(all.begin() + static_cast<ptrdiff_t>(from),
                                   all.begin() + static_cast<ptrdiff_t>(std::min(all.size(), from + n)));
        std::vector<float> ours(x.size() + 1, -77), reference(x.size() + 1, -77);
        const unsigned flags = GetParam()->quantize(x.data(), ours.data(), x.size(), grid.scale, grid.divisor,
                                                    grid.lower, grid.upper);
        const unsigned expected = kKernelsRef.quantize(x.data(), reference.data(), x.size(), grid.scale,
                                                       grid.divisor, grid.lower, grid.upper);
        ASSERT_EQ(bits(ours), bits(reference)) << "n " << n << " scale " << grid.scale;
        ASSERT_EQ(flags, expected);
      }
    }
    std::vector<float> ours = all, reference = all;
    GetParam()->quantize(ours.data(), ours.data(), ours.size(), grid.scale, grid.divisor, grid.lower,
                         grid.upper);
    kKernelsRef.quantize(all.data(), reference.data(), all.size(), grid.scale, grid.divisor, grid.lower,
                         grid.upper);
    ASSERT_EQ(bits(ours), bits(reference)) << "in place";
  }
}

TEST_P(EveryTable, Affine) {
  for (const float step : {1.0f, 0.0055118110f, 2.2121779918f / 127, 0.0f, -0.5f, 1e-30f, kInfinity}) {
    const float inverse = 1.0f / step;
    const std::vector<float> x = inputs(step != 0 && std::isfinite(step) ? std::fabs(inverse) : 1.0f, 1003);
    for (const float overflow : {-kInfinity, kInfinity}) {
      std::vector<float> ours(x.size()), reference(x.size());
      GetParam()->affine(x.data(), ours.data(), x.size(), inverse, step, -128, 127, overflow);
      kKernelsRef.affine(x.data(), reference.data(), x.size(), inverse, step, -128, 127, overflow);
      ASSERT_EQ(bits(ours), bits(reference)) << step;
    }
  }
}

TEST_P(EveryTable, Gradients) {
  for (const float amax : {1.0f, 0.7f, 0.0f, kInfinity, kNan}) {
    const std::vector<float> x = inputs(127 / (amax > 0 && std::isfinite(amax) ? amax : 1.0f), 1005);
    std::vector<float> g(x.size());
    for (size_t i = 0; i < g.size(); ++i) g[i] = i % 7 == 0 ? kNan : static_cast<float>(i) - 500;
    std::vector<float> ours(x.size()), reference(x.size());
    GetParam()->pass_inside(x.data(), g.data(), ours.data(), x.size(), amax);
    kKernelsRef.pass_inside(x.data(), g.data(), reference.data(), x.size(), amax);
    ASSERT_EQ(bits(ours), bits(reference)) << amax;
    GetParam()->pass_affine(x.data(), g.data(), ours.data(), x.size(), 127 / amax, -128, 127);
    kKernelsRef.pass_affine(x.data(), g.data(), reference.data(), x.size(), 127 / amax, -128, 127);
    ASSERT_EQ(bits(ours), bits(reference)) << amax;
  }
}

TEST_P(EveryTable, MarksWhereGradientsPass) {
  const std::vector<float> x = inputs(127 / 0.7f, 1005);
  const std::vector<float> ones(x.size(), 1.0f);
  for (const float amax : {0.7f, 0.0f, kInfinity, kNan}) {
    for (const bool affine : {false, true}) {
      std::vector<float> passed(x.size());
      if (affine) {
        kKernelsRef.pass_affine(x.data(), ones.data(), passed.data(), x.size(), 127 / amax, -128, 127);
      } else {
        kKernelsRef.pass_inside(x.data(), ones.data(), passed.data(), x.size(), amax);
      }
      for (size_t offset = 0; offset < 19; ++offset) {
        for (const size_t n : {size_t{1}, size_t{7}, size_t{16}, size_t{45}, x.size()}) {
          const uint8_t before = offset % 2 ? 0xff : 0;
          std::vector<uint8_t> mask((offset + n) / 8 + 2, before);
          if (affine) {
            GetParam()->mark_affine(x.data(), n, 127 / amax, -128, 127, mask.data(), offset);
          } else {
            GetParam()->mark_inside(x.data(), n, amax, mask.data(), offset);
          }
          for (size_t b = 0; b < mask.size() * 8; ++b) {
            const bool bit = mask[b / 8] >> b % 8 & 1;
            const bool ours = b >= offset && b < offset + n;
            ASSERT_EQ(bit, ours ? passed[b - offset] == 1 : before != 0)
                << amax << " " << offset << " " << n << " " << b;
          }
        }
      }
    }
  }
}

TEST_P(EveryTable, Magnitudes) {
  std::mt19937 random(seed());
  const std::vector<float> pool = {0.0f,       -0.0f,  1.0f,    -2.0f, kNan, kInfinity,
                                   -kInfinity, 1e-45f, -3e-39f, 5.0f,  0.25f};
  for (int repeat = 0; repeat < 400; ++repeat) {
    std::vector<float> x(random() % 80);
    const size_t variety = 1 + random() % pool.size();
    for (float& value : x) value = pool[random() % variety];
    const Magnitudes ours = GetParam()->magnitudes(x.data(), x.size());
    const Magnitudes reference = kKernelsRef.magnitudes(x.data(), x.size());
    ASSERT_EQ(ours.largest, reference.largest) << x.size();
    ASSERT_EQ(ours.smallest_nonzero, reference.smallest_nonzero);
    ASSERT_EQ(ours.saw_zero, reference.saw_zero);
    ASSERT_EQ(ours.saw_negative, reference.saw_negative);
    ASSERT_EQ(ours.saw_nan, reference.saw_nan);
  }
}

TEST_P(EveryTable, Count) {
  std::mt19937 random(seed());
  for (const int32_t bins : {1, 2, 7, 200, 2048, 2049, 16384}) {
    for (const float low : {0.0f, 1.25f, -0.5f}) {
      std::vector<float> thresholds;
      const float width = 3.7f / static_cast<float>(bins);
      for (int32_t k = 0; k <= bins; ++k) thresholds.push_back(low + width * static_cast<float>(k));
      // An estimate that may be off by an eighth of a bin on both sides.
      BinRule rule{
          thresholds.data(), bins, thresholds.back(), low, static_cast<float>(bins) / 3.7f, 0.125f, false};
      std::vector<float> x = {0.0f, -0.0f, thresholds.back(), std::nextafter(thresholds.back(), kInfinity),
                              kInfinity};
      for (int i = 0; i < 700; ++i) {
        const float edge = thresholds[random() % thresholds.size()];
        for (const float value : {edge, std::nextafter(edge, kInfinity), -std::nextafter(edge, -kInfinity)})
          x.push_back(value);
        x.push_back(std::ldexp(static_cast<float>(random()), -30));
      }
      for (const bool skip_zeros : {false, true}) {
        rule.skip_zeros = skip_zeros;
        const size_t slots = kCountTables * static_cast<size_t>(bins);
        std::vector<uint32_t> ours(slots), reference(slots), expected(static_cast<size_t>(bins));
        GetParam()->count(x.data(), x.size(), &rule, ours.data());
        kKernelsRef.count(x.data(), x.size(), &rule, reference.data());
        ASSERT_EQ(ours, reference) << bins << " bins from " << low;
        for (const float value : x) {
          const float m = std::fabs(value);
          if (m < thresholds.front() || m > thresholds.back() || (skip_zeros && m == 0)) continue;
          const auto above = std::upper_bound(thresholds.begin(), thresholds.end(), m);
          ++expected[std::min<size_t>(static_cast<size_t>(above - thresholds.begin()), expected.size()) - 1];
        }
        for (size_t k = 0; k < expected.size(); ++k) {
          uint32_t sum = 0;
          for (size_t t = 0; t < kCountTables; ++t) sum += ours[t * expected.size() + k];
          ASSERT_EQ(sum, expected[k]) << "bin " << k << " of " << bins << " from " << low;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, EveryTable, ::testing::ValuesIn(other_tables()),
                         [](const auto& info) { return info.param->isa; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(EveryTable);

TEST(Kernels, ForcedInstructionSetIsTheOneThatRuns) {
  const char* before = std::getenv("QDQBERT_ISA");
  const std::string old = before ? before : "";
  for (const Isa isa : {Isa::kRef, Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512Vnni, Isa::kAmxInt8}) {
    if (!supports(isa)) continue;
    ::setenv("QDQBERT_ISA", std::string(name_of(isa)).c_str(), 1);
    const std::string expected = isa == Isa::kRef ? "ref" : isa >= Isa::kAvx512Vnni ? "avx512" : "avx2";
    EXPECT_EQ(kernels().isa, expected) << name_of(isa);
  }
  ::setenv("QDQBERT_ISA", "sse9", 1);
  EXPECT_THROW(kernels(), UsageError);
  before ? ::setenv("QDQBERT_ISA", old.c_str(), 1) : ::unsetenv("QDQBERT_ISA");
}

}  // namespace
}  // namespace qdqbert::quant
