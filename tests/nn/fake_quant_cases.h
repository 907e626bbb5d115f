// Tensors and ranges on which fake quantization of one element, on whatever device, is held to quant/.
#pragma once

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "qdqbert/quant/fake_quant.h"

namespace qdqbert::testing {

struct FakeQuantCase {
  std::string name;
  quant::QuantParams params;
  quant::AmaxView amax;
  std::vector<float> x;
};

/// Every width, sign and range width; zero, tiny, infinite and NaN ranges; ties, infinities, NaN; counts
/// around the sizes of words, warps and blocks.
inline std::vector<FakeQuantCase> fake_quant_cases() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::vector<float>> ranges = {{1.5F},
                                                  {0},
                                                  {0x1p-24F},
                                                  {0x1.000002p-24F},
                                                  {kInfinity},
                                                  {kNan},
                                                  {3e-39F},
                                                  {0.3F, 2, 0, 0x1p-26F, 7},
                                                  {0.3F, kNan, 0, 5, 7}};
  std::vector<FakeQuantCase> cases;
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  for (const int bits : {8, 4, 1, 16}) {
    for (const bool is_unsigned : {false, true}) {
      for (const bool narrow : {false, true}) {
        for (const auto& range : ranges) {
          for (const size_t inner : {size_t{1}, size_t{4}, size_t{33}, size_t{2077}}) {
            FakeQuantCase item{"bits " + std::to_string(bits) + (is_unsigned ? " unsigned" : "") +
                                   (narrow ? " narrow" : "") + " amax[0] " + std::to_string(range[0]) +
                                   " of " + std::to_string(range.size()) + " inner " + std::to_string(inner),
                               {bits, is_unsigned, narrow},
                               {3, range.size(), inner, range},
                               {}};
            const float bound = quant::max_bound(bits, is_unsigned);
            for (size_t i = 0; i < item.amax.count(); ++i) {
              const float amax = range[i / inner % range.size()];
              float value = normal(random) * (amax > 0 && amax < kInfinity ? amax : 1);
              if (i % 7 == 3) value = (std::floor(value / amax * bound) + 0.5F) * amax / bound;  // ties
              if (i % 101 == 50) value = kInfinity;
              if (i % 103 == 50) value = -kInfinity;
              if (i % 107 == 50) value = kNan;
              if (i % 109 == 50) value = -0.0F;
              if (i % 113 == 50) value = amax;
              item.x.push_back(is_unsigned ? std::fabs(value) : value);
            }
            cases.push_back(std::move(item));
          }
        }
      }
    }
  }
  return cases;
}

/// Equal bits, any NaN being any other.
inline bool same_value(float a, float b) {
  return (a != a && b != b) || (a == b && std::signbit(a) == std::signbit(b));
}

}  // namespace qdqbert::testing
