// What a GPU computes beside the CPU. Skipped where there is none.
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/nn/dropout.h"
#include "qdqbert/nn/fake_quantize.h"
#include "qdqbert/train/device.h"
#include "qdqbert/train/device_steps.h"

#include "tests/train/twenty_steps.h"

namespace qdqbert::train {
namespace {

const at::Device kGpu(at::kCUDA, 0);

class Gpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (nn::find_gpus().list.empty()) GTEST_SKIP() << "no GPU on this machine";
  }
};

TEST_F(Gpu, DropsTheSameElements) {
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const at::Tensor x = at::ones({37, 129}, type), there = x.to(kGpu);
    nn::begin_dropout(7, 11);
    const at::Tensor wanted = nn::dropout(x, 0.3);
    nn::begin_dropout(7, 11);
    at::Tensor input = there.detach().requires_grad_(true);
    const at::Tensor found = nn::dropout(input, 0.3);
    EXPECT_TRUE(at::equal(found.cpu(), wanted)) << type;
    found.sum().backward();
    EXPECT_TRUE(at::equal(input.grad().cpu(), wanted)) << type;
  }
}

TEST_F(Gpu, QuantizesWithTheBitsOfTheCpu) {
  at::manual_seed(3);
  for (const bool rows : {false, true}) {
    const at::Tensor x = at::randn({64, 200}) * 3.0, gradient = at::randn({64, 200});
    const at::Tensor amax = rows ? x.abs().amax({1}, true) * 0.7 : at::scalar_tensor(2.5F);
    const auto run = [&](at::Device device) {
      at::Tensor input = x.to(device).detach().requires_grad_(true);
      const at::Tensor y =
          nn::fake_quantize(input, amax.to(device), {8, false, false, quant::Arithmetic::kToolkit});
      y.backward(gradient.to(device));
      return std::pair{y.detach().cpu(), input.grad().cpu()};
    };
    const auto [wanted, wanted_gradient] = run(at::kCPU);
    const auto [found, found_gradient] = run(kGpu);
    EXPECT_TRUE(at::equal(found, wanted));
    EXPECT_TRUE(at::equal(found_gradient, wanted_gradient));
  }
}

TEST_F(Gpu, StepsWithTheBitsOfTheCpu) {
  at::manual_seed(4);
  const at::Tensor start = at::randn({1000, 7});
  std::vector<at::Tensor> gradients;
  for (int step = 0; step < 4; ++step) gradients.push_back(at::randn({1000, 7}));
  const auto run = [&](at::Device device) {
    at::Tensor parameter = start.to(device).detach().clone().requires_grad_(true);
    AdamW optimizer({{"weight", parameter}}, {.weight_decay = 0.01});
    for (const at::Tensor& gradient : gradients) {
      parameter.mutable_grad() = gradient.to(device);
      const at::Tensor factor = at::full({}, 0.375, parameter.options().requires_grad(false));
      optimizer.step_on_device(1e-3, {factor, factor.gt(0)});
    }
    return parameter.detach().cpu();
  };
  EXPECT_TRUE(at::equal(run(kGpu), run(at::kCPU)));
}

TEST_F(Gpu, SaysWhenItsMemoryIsUsedUp) {
  try {
    at::empty({int64_t{1} << 45}, at::TensorOptions(kGpu).dtype(at::kFloat));
    ADD_FAILURE() << "no GPU has 128 TiB";
  } catch (const c10::Error& error) {
    EXPECT_TRUE(is_out_of_gpu_memory(error)) << error.what();
    EXPECT_TRUE(memory_asked_for(error).ends_with("more were asked for")) << error.what();
  }
}

// The noise is how far the CPU is from itself when it adds in another order.
TEST_F(Gpu, TrainsAsTheCpuDoes) {
  for (const bool quantized : {false, true}) {
    const std::vector<double> wanted = twenty_steps({.quantized = quantized});
    const double noise = largest_difference(wanted, twenty_steps({.quantized = quantized, .parts = 4}));
    EXPECT_LE(largest_difference(twenty_steps({.device = kGpu, .quantized = quantized}), wanted), 2 * noise)
        << (quantized ? "QAT" : "float");
  }
}

// FP16 has three more bits than BF16, so it is nearer to FP32 than the CPU's BF16 is.
TEST_F(Gpu, TrainsInHalfPrecision) {
  for (const bool quantized : {false, true}) {
    const std::vector<double> wanted = twenty_steps({.quantized = quantized});
    const double noise = largest_difference(wanted, twenty_steps({.quantized = quantized, .bf16 = true}));
    EXPECT_LE(
        largest_difference(twenty_steps({.device = kGpu, .quantized = quantized, .fp16 = true}), wanted),
        noise)
        << (quantized ? "QAT" : "float");
  }
}

}  // namespace
}  // namespace qdqbert::train
