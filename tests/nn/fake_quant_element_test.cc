#include "qdqbert/nn/kernels/fake_quant_element.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "tests/nn/fake_quant_cases.h"

namespace qdqbert::nn {
namespace {

// What a GPU computes, compiled for the CPU.
TEST(FakeQuantElement, HasTheBitsOfQuant) {
  size_t elements = 0;
  for (const auto& item : testing::fake_quant_cases()) {
    std::vector<float> wanted(item.x.size());
    std::vector<uint8_t> mask((item.x.size() + 7) / 8);
    quant::fake_quant_marked(item.x, item.amax, item.params, wanted, mask);
    float smallest = INFINITY;
    for (const float amax : item.amax.values)
      smallest = smallest != smallest || smallest < amax ? smallest : amax;
    const ElementBounds bounds{quant::min_bound(item.params),
                               quant::max_bound(item.params.num_bits, item.params.is_unsigned),
                               item.params.is_unsigned};
    for (size_t i = 0; i < item.x.size(); ++i, ++elements) {
      const float amax = item.amax.values[i / item.amax.inner % item.amax.channels];
      const float found = fake_quant_element(item.x[i], element_scale(amax, smallest, bounds.upper), bounds);
      ASSERT_TRUE(testing::same_value(found, wanted[i]))
          << item.name << ", element " << i << ": " << found << ", quant/ gives " << wanted[i];
      ASSERT_EQ(passes_element(item.x[i], amax), (mask[i / 8] >> i % 8 & 1) != 0)
          << item.name << ", element " << i;
    }
  }
  EXPECT_GT(elements, 1000000U);
}

TEST(FakeQuantElement, WhatTheCpuRefusesBecomesNan) {
  const ElementBounds unsigned_bounds{0, 255, true}, signed_bounds{-128, 127, false};
  EXPECT_TRUE(std::isnan(fake_quant_element(-1, element_scale(1, 1, 255), unsigned_bounds)));
  EXPECT_TRUE(std::isnan(fake_quant_element(1, element_scale(2, -1, 127), signed_bounds)));
}

}  // namespace
}  // namespace qdqbert::nn
