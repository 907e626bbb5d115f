#include "qdqbert/nn/autocast.h"

#include <ATen/autocast_mode.h>
#include <torch/version.h>

#include "qdqbert/base/error.h"

namespace qdqbert::nn {
namespace {

// LibTorch 2.4 has one function for all devices.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
bool enabled(at::DeviceType device) {
  return at::autocast::is_autocast_enabled(device);
}
void enable(at::DeviceType device, bool on) {
  at::autocast::set_autocast_enabled(device, on);
}
void set_type(at::DeviceType device, at::ScalarType type) {
  at::autocast::set_autocast_dtype(device, type);
}
at::ScalarType type_of(at::DeviceType device) {
  return at::autocast::get_autocast_dtype(device);
}
#else
bool enabled(at::DeviceType device) {
  return device == at::kCPU ? at::autocast::is_cpu_enabled() : at::autocast::is_enabled();
}
void enable(at::DeviceType device, bool on) {
  device == at::kCPU ? at::autocast::set_cpu_enabled(on) : at::autocast::set_enabled(on);
}
void set_type(at::DeviceType device, at::ScalarType type) {
  device == at::kCPU ? at::autocast::set_autocast_cpu_dtype(type)
                     : at::autocast::set_autocast_gpu_dtype(type);
}
at::ScalarType type_of(at::DeviceType device) {
  return device == at::kCPU ? at::autocast::get_autocast_cpu_dtype() : at::autocast::get_autocast_gpu_dtype();
}
#endif

const c10::DispatchKeySet kAutocast({c10::DispatchKey::AutocastCPU, c10::DispatchKey::AutocastCUDA});

}  // namespace

HalfAutocast::HalfAutocast(at::Device device, at::ScalarType type) : device_(device.type()), before_(false) {
  const bool known = device_ == at::kCPU || device_ == at::kCUDA;
  if (!known || (type != at::kBFloat16 && !(type == at::kHalf && device_ == at::kCUDA)))
    fail<UsageError>("[half precision] {} has no products in {}", device.str(), c10::toString(type));
  before_ = enabled(device_);
  set_type(device_, type);
  enable(device_, true);
}

HalfAutocast::~HalfAutocast() {
  enable(device_, before_);
  if (!before_) at::autocast::clear_cache();
}

HalfAutocast::State HalfAutocast::state() {
  for (const at::DeviceType device : {at::kCPU, at::kCUDA})
    if (enabled(device)) return {device, type_of(device)};
  return {};
}

AutocastAgain::AutocastAgain(const HalfAutocast::State& state) {
  if (state.type)
    with_.emplace(state.device, *state.type);
  else if (HalfAutocast::is_on())
    without_.emplace();
}

ProductsInFloat32::ProductsInFloat32() : without_autocast_(kAutocast) {}

}  // namespace qdqbert::nn
