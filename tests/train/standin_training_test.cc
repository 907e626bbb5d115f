// The training loop on a device that the host may not touch.
#include <gtest/gtest.h>

#include "tests/support/device.h"
#include "tests/support/standin_device.h"
#include "tests/train/twenty_steps.h"

namespace qdqbert::train {
namespace {

/// What happens between the beginnings of two steps.
struct Waits : TrainingObserver {
  std::vector<testing::StandinCounts> begins;
  void before_step(int64_t, int64_t) override { begins.push_back(testing::standin_counts()); }
};

TEST(StandinTraining, IsThatOfTheCpuAndWaitsForNothing) {
  for (const bool quantized : {false, true}) {
    const std::vector<double> wanted = twenty_steps({.quantized = quantized});
    const double noise = largest_difference(wanted, twenty_steps({.quantized = quantized, .parts = 4}));
    Waits waits;
    const std::vector<double> found = twenty_steps({.device = testing::standin_device(),
                                                    .quantized = quantized,
                                                    .move = testing::move_to,
                                                    .observer = &waits});
    EXPECT_LE(largest_difference(found, wanted), 2 * noise) << (quantized ? "QAT" : "float");
    ASSERT_EQ(waits.begins.size(), 20u);
    // The first step reads ranges that nobody has read before.
    for (size_t step = 2; step < waits.begins.size(); ++step) {
      const testing::StandinCounts counts = waits.begins[step] - waits.begins[step - 1];
      EXPECT_GT(counts.operators, 100);
      EXPECT_EQ(counts.items, 0) << "step " << step;
      EXPECT_LE(counts.to_host, 1) << "step " << step << ": the numbers of the step before";
    }
  }
}

}  // namespace
}  // namespace qdqbert::train
