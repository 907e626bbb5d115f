#include <fmt/format.h>
#include <gtest/gtest.h>

#include "qdqbert/train/sampling.h"

#include "tests/support/golden.h"

namespace qdqbert::train {
namespace {

TEST(TrainGolden, SamplingOrder) {
  testing::GoldenFamily family("sampling");
  const Json file = read_json(testing::golden_dir() / "training/sampling.json");
  for (const Json& expected : file.at("cases")) {
    const int64_t samples = expected.at("samples");
    const uint64_t seed = expected.at("seed").get<uint64_t>();
    family.run(fmt::format("seed {} samples {}", seed, samples), [&] {
      EXPECT_EQ(loader_order(samples, seed), expected.at("order").get<std::vector<int64_t>>());
    });
  }
}

}  // namespace
}  // namespace qdqbert::train
