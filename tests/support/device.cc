#include "tests/support/device.h"

#include <cstdlib>

#include <torch/cuda.h>

#include "qdqbert/base/error.h"

#include "tests/support/standin_device.h"

namespace qdqbert::testing {

c10::Device test_device() {
  const char* value = std::getenv("QDQBERT_TEST_DEVICE");
  const std::string name = value == nullptr || *value == '\0' ? "cpu" : value;
  if (name == "standin") return standin_device();
  if (name == "cpu") return c10::kCPU;
  if (name == "cuda") return {c10::kCUDA, 0};
  if (name.starts_with("cuda:")) return c10::Device(name);
  fail<UsageError>("[QDQBERT_TEST_DEVICE] must be cpu, standin, cuda or cuda:N, not {}", name);
}

std::optional<std::string> missing_test_device() {
  const c10::Device device = test_device();
  if (!device.is_cuda()) return std::nullopt;
  const auto devices = static_cast<int>(torch::cuda::device_count());
  if (device.index() < devices) return std::nullopt;
  return "no GPU " + std::to_string(device.index()) + ": LibTorch sees " + std::to_string(devices);
}

void move_to(torch::nn::Module& module, c10::Device device) {
  if (device.type() != c10::DeviceType::PrivateUse1) return module.to(device);
  // Module::to would, but LibTorch 1.13 lets no tensor of this device take the place of another.
  const auto move = [&](const at::Tensor& tensor) {
    if (tensor.device() != device)
      tensor.unsafeGetTensorImpl()->shallow_copy_from(tensor.detach().to(device).getIntrusivePtr());
  };
  for (const at::Tensor& parameter : module.parameters()) move(parameter);
  for (const at::Tensor& buffer : module.buffers()) move(buffer);
}

}  // namespace qdqbert::testing
