#include "qdqbert/io/range_json.h"

#include <vector>

#include <gtest/gtest.h>

namespace qdqbert::io {
namespace {

TEST(RangeJsonTest, OneValueIsANumber) {
  EXPECT_EQ(range_json(std::vector<float>{1.5f}), Json(1.5f));
}

TEST(RangeJsonTest, ChannelsAreSmallestLargestAndCount) {
  EXPECT_EQ(range_json(std::vector<float>{0.5f, 2.25f, 0.25f}),
            (Json{{"min", 0.25f}, {"max", 2.25f}, {"count", 3}}));
}

}  // namespace
}  // namespace qdqbert::io
