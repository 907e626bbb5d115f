#include <cmath>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/tasks/paired_bootstrap.h"
#include "qdqbert/tasks/regression_metrics.h"

namespace qdqbert::tasks {
namespace {

using Texts = std::vector<std::string>;

std::vector<SquadExample> examples_with(const Texts& golds) {
  std::vector<SquadExample> examples(golds.size());
  for (size_t i = 0; i < golds.size(); ++i) examples[i].answers = {{golds[i], 0}};
  return examples;
}

TEST(PairedBootstrap, ShareOfDifferingAnswers) {
  EXPECT_EQ(share_of_differing_answers(Texts{"a", "b", "c", "d"}, Texts{"a", "x", "c", "d"}), 0.25);
  EXPECT_THROW(share_of_differing_answers(Texts{"a"}, Texts{}), InputError);
  EXPECT_THROW(share_of_differing_answers(Texts{}, Texts{}), InputError);
}

TEST(PairedBootstrap, ErrorAgreesWithTheFormulaOfTheMean) {
  // 400 questions; b is right where a is wrong on 60 and wrong where a is right on 20.
  const size_t count = 400;
  Texts golds(count, "gold"), a(count, "gold"), b(count, "gold");
  for (size_t i = 0; i < 60; ++i) a[i] = "wrong";
  for (size_t i = 100; i < 120; ++i) b[i] = "wrong";
  const F1Difference got = paired_bootstrap_f1(examples_with(golds), a, b, 7, 4000);
  EXPECT_NEAR(got.f1_a, 85, 1e-9);
  EXPECT_NEAR(got.f1_b, 95, 1e-9);
  EXPECT_NEAR(got.difference, 10, 1e-9);
  // Gains are +1, -1, 0 with variance E[g^2] - E[g]^2 = 0.2 - 0.01. The bootstrap's own error with 4000
  // resamples is about 1 / sqrt(2 * 4000) = 1.1 %; 5 % are more than four of them.
  const double expected = 100 * std::sqrt(0.19 / static_cast<double>(count));
  EXPECT_NEAR(got.standard_error, expected, 0.05 * expected);
}

TEST(PairedBootstrap, SeedDecides) {
  const Texts golds{"x", "y", "z", "w"}, a{"x", "y", "q", "q"}, b{"x", "q", "z", "w"};
  const auto examples = examples_with(golds);
  EXPECT_EQ(paired_bootstrap_f1(examples, a, b, 1).standard_error,
            paired_bootstrap_f1(examples, a, b, 1).standard_error);
  EXPECT_NE(paired_bootstrap_f1(examples, a, b, 1).standard_error,
            paired_bootstrap_f1(examples, a, b, 2).standard_error);
  EXPECT_EQ(paired_bootstrap_f1(examples, a, a).standard_error, 0);
}

TEST(PairedBootstrap, RefusesWhatHasNoError) {
  const Texts one{"x"};
  EXPECT_THROW(paired_bootstrap_f1({}, Texts{}, Texts{}), InputError);
  EXPECT_THROW(paired_bootstrap_f1(examples_with(one), one, Texts{}), InputError);
  EXPECT_THROW(paired_bootstrap_f1(examples_with(one), one, one, 0, 1), InputError);
  EXPECT_THROW(paired_bootstrap_f1(std::vector<SquadExample>(1), one, one), InputError);
}

TEST(AverageRanks, TiesShare) {
  EXPECT_EQ(average_ranks(std::vector<double>{3, 1, 3, 2, 3}), (std::vector<double>{4, 1, 4, 2, 4}));
  EXPECT_EQ(average_ranks({}), std::vector<double>{});
}

}  // namespace
}  // namespace qdqbert::tasks
