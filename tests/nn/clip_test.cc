#include "qdqbert/nn/clip.h"

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/nn/state_dict.h"

namespace qdqbert::nn {
namespace {

TEST(Clip, GradientGoesToTheInputInsideAndToTheBoundsAtAndOutsideThem) {
  Clip clip(-1.0, 2.0, true, true);
  at::Tensor x = at::tensor({-3.0F, -1.0F, 0.5F, 2.0F, 4.0F}).requires_grad_(true);
  const at::Tensor y = clip.forward(x);
  EXPECT_TRUE(at::equal(y.detach(), at::tensor({-1.0F, -1.0F, 0.5F, 2.0F, 2.0F})));
  (y * at::tensor({1.0F, 2.0F, 4.0F, 8.0F, 16.0F})).sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), at::tensor({0.0F, 0.0F, 4.0F, 0.0F, 0.0F})));
  EXPECT_EQ(clip.clip_value_min.grad().item<float>(), 3.0F);
  EXPECT_EQ(clip.clip_value_max.grad().item<float>(), 24.0F);
}

TEST(Clip, WhenTheBoundsCrossTheLowerOneWins) {
  const at::Tensor y =
      clip(at::tensor({-5.0F, 0.0F, 5.0F}), at::scalar_tensor(2.0F), at::scalar_tensor(-2.0F));
  EXPECT_TRUE(at::equal(y, at::full({3}, 2.0F)));
}

TEST(Clip, BoundsOfSeveralElementsHaveNoGradient) {
  at::Tensor x = at::ones({2, 3}).requires_grad_(true);
  const at::Tensor y = clip(x, at::zeros({2, 1}), at::full({2, 1}, 0.5F));
  EXPECT_TRUE(at::equal(y.detach(), at::full({2, 3}, 0.5F)));
  EXPECT_THROW(y.sum().backward(), InputError);
}

TEST(StateDict, HoldsLearnedBoundsOnly) {
  const Clip clip(-1.0, 1.0, false, true);
  const auto state = state_dict(clip);
  ASSERT_EQ(state.size(), 1U);
  EXPECT_EQ(state[0].name, "clip_value_max");
}

}  // namespace
}  // namespace qdqbert::nn
