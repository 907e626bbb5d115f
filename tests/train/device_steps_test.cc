// Optimizer steps that nobody waits for, against those of the CPU.
#include "qdqbert/train/device_steps.h"

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"

namespace qdqbert::train {
namespace {

struct Weights {
  std::vector<nn::NamedTensor> parameters;

  explicit Weights(uint64_t seed) {
    at::manual_seed(seed);
    for (const char* name : {"layer.weight", "layer.bias", "without.gradient"})
      parameters.push_back({name, at::randn({33, 7}).requires_grad_(true)});
  }
  void draw_gradients(int step) {
    at::manual_seed(static_cast<uint64_t>(100 + step));
    for (size_t i = 0; i < 2; ++i) parameters[i].tensor.mutable_grad() = at::randn({33, 7}) * 3.0;
  }
};

DeviceDecision decision(float factor, bool goes) {
  return {at::scalar_tensor(factor, at::kFloat), at::scalar_tensor(goes, at::kBool)};
}

TEST(DeviceOptimizer, HasTheBitsOfTheOther) {
  for (const AdamOptions& options :
       {AdamOptions{.weight_decay = 0.1}, AdamOptions{.variant = AdamVariant::kLibrary, .weight_decay = 0.1},
        AdamOptions{.variant = AdamVariant::kLibrary, .correct_bias = false}}) {
    Weights a(1), b(1);
    AdamW one(a.parameters, options), other(b.parameters, options);
    for (int step = 0; step < 5; ++step) {
      a.draw_gradients(step);
      b.draw_gradients(step);
      const float factor = clip_factor(gradient_norm(a.parameters), 1);
      one.step(1e-2, factor);
      other.step_on_device(1e-2, decision(factor, true));
    }
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(a.parameters[i].tensor, b.parameters[i].tensor));
    const auto mine = one.state(), its = other.state();
    for (size_t i = 0; i < mine.size(); ++i) EXPECT_TRUE(at::equal(mine[i].tensor, its[i].tensor));
    EXPECT_EQ(other.steps(), 5);
  }
}

TEST(DeviceOptimizer, AStepThatDoesNotGoChangesNothing) {
  Weights a(1), b(1);
  AdamW straight(a.parameters, {}), interrupted(b.parameters, {});
  for (int step = 0; step < 4; ++step) {
    a.draw_gradients(step);
    b.draw_gradients(step);
    straight.step_on_device(1e-2, decision(1, true));
    interrupted.step_on_device(1e-2, decision(1, true));
    b.parameters[0].tensor.mutable_grad()[3][3] = INFINITY;
    interrupted.step_on_device(1e-2, decision(NAN, false));
  }
  EXPECT_EQ(interrupted.steps(), 4);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(a.parameters[i].tensor, b.parameters[i].tensor));
}

TEST(DeviceOptimizer, NormAndFactor) {
  Weights weights(2);
  weights.draw_gradients(0);
  const double norm = gradient_norm(weights.parameters);
  const at::Tensor found = gradient_norm_on_device(weights.parameters);
  EXPECT_NEAR(found.item<double>(), norm, 1e-6 * norm);
  EXPECT_NEAR(clip_factor_on_device(found, 1).item<double>(), clip_factor(norm, 1), 1e-7);
  EXPECT_EQ(clip_factor_on_device(found, 0).item<double>(), 1);
  EXPECT_EQ(clip_factor_on_device(at::scalar_tensor(0.5F), 1).item<double>(), 1);
}

TEST(LossScaler, HalvesOnOverflowAndDoublesAfterGoodSteps) {
  LossScaler scaler({.initial = 1024, .growth = 2, .backoff = 0.5, .growth_interval = 3});
  const auto update = [](LossScaler& s, bool finite) { s.update(at::scalar_tensor(finite, at::kBool)); };
  update(scaler, false);
  EXPECT_EQ(scaler.current_scale(), 512);
  update(scaler, true);
  update(scaler, true);
  EXPECT_EQ(scaler.good_steps(), 2);
  update(scaler, false);  // and counts from the beginning
  EXPECT_EQ(scaler.current_scale(), 256);
  for (int i = 0; i < 3; ++i) update(scaler, true);
  EXPECT_EQ(scaler.current_scale(), 512);
  EXPECT_EQ(scaler.good_steps(), 0);
  LossScaler other;
  EXPECT_EQ(other.current_scale(), 65536);
  other.restore(8, 1999);
  update(other, true);
  EXPECT_EQ(other.current_scale(), 16);
  other.restore(0x1p127, 1999);
  update(other, true);
  EXPECT_EQ(other.current_scale(), 0x1p127) << "never infinite";
  EXPECT_THROW(LossScaler({.growth = 1}), UsageError);
  EXPECT_THROW(LossScaler({.backoff = 1}), UsageError);
}

// A loss whose gradient is known: sum(w * c).
StepNumbers step_with(DeviceSteps& steps, AdamW& optimizer, float c) {
  optimizer.zero_grad();
  for (const nn::NamedTensor& item : optimizer.parameters()) steps.backward((item.tensor * c).sum(), 2);
  return DeviceSteps::read(steps.step(1e-2, 10, 100, nullptr));
}

TEST(DeviceSteps, ScalingChangesNothingButWhatOverflows) {
  Weights plain(3), scaled(3);
  AdamW one(plain.parameters, {}), other(scaled.parameters, {});
  DeviceSteps without(one, 1, false), with(other, 1, true);
  const StepNumbers a = step_with(without, one, 0.25F), b = step_with(with, other, 0.25F);
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_NEAR(a.gradient_norm, 0.125 * std::sqrt(3 * 33 * 7), 1e-5);
  EXPECT_NEAR(b.gradient_norm, a.gradient_norm, 1e-5);
  EXPECT_EQ(a.tokens, 10);
  EXPECT_EQ(a.flops, 100);
  EXPECT_EQ(a.loss_scale, 1);
  EXPECT_EQ(b.loss_scale, 65536);
  // Powers of two come back exactly.
  for (size_t i = 0; i < 3; ++i)
    EXPECT_TRUE(at::allclose(plain.parameters[i].tensor, scaled.parameters[i].tensor, 1e-6, 1e-7));

  const at::Tensor before = scaled.parameters[0].tensor.detach().clone();
  const StepNumbers overflown = step_with(with, other, 1e34F);  // times 65536: infinite
  EXPECT_FALSE(std::isfinite(overflown.gradient_norm));
  EXPECT_TRUE(std::isfinite(overflown.loss));
  EXPECT_TRUE(at::equal(scaled.parameters[0].tensor, before));
  EXPECT_EQ(with.scaler()->current_scale(), 32768);
  EXPECT_EQ(other.steps(), 1);
}

TEST(DeviceSteps, ALossThatIsNoNumberStopsTheStep) {
  Weights weights(4);
  AdamW optimizer(weights.parameters, {});
  DeviceSteps steps(optimizer, 1, false);
  const at::Tensor before = weights.parameters[0].tensor.detach().clone();
  optimizer.zero_grad();
  // The loss is infinite, its gradient is not.
  steps.backward(weights.parameters[0].tensor.sum() + INFINITY, 1);
  EXPECT_FALSE(std::isfinite(DeviceSteps::read(steps.step(1e-2, 1, 1, nullptr)).loss));
  EXPECT_TRUE(at::equal(weights.parameters[0].tensor, before));
}

}  // namespace
}  // namespace qdqbert::train
