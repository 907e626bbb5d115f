#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <cuda_runtime_api.h>

#include "qdqbert/nn/gpu.h"

namespace qdqbert::nn {

Gpus find_gpus() {
  Gpus gpus;
  gpus.built = true;
  gpus.toolkit = CUDART_VERSION;
  cudaDriverGetVersion(&gpus.driver);
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  // An error that is not taken stays the runtime's last one, which LibTorch would find.
  cudaGetLastError();
  if (error != cudaSuccess && error != cudaErrorNoDevice && error != cudaErrorInsufficientDriver)
    gpus.fault = cudaGetErrorString(error);
  for (int device = 0; error == cudaSuccess && device < count; ++device) {
    cudaDeviceProp properties{};
    if (const cudaError_t refused = cudaGetDeviceProperties(&properties, device); refused != cudaSuccess) {
      gpus.fault = cudaGetErrorString(refused);
      break;  // the place in the list is the number
    }
    gpus.list.push_back({properties.name, static_cast<int64_t>(properties.totalGlobalMem), properties.major,
                         properties.minor});
  }
  return gpus;
}

namespace {

constexpr auto kAll = static_cast<size_t>(c10::CachingDeviceAllocator::StatType::AGGREGATE);

}  // namespace

int64_t gpu_peak_memory(at::Device device) {
  if (!device.is_cuda()) return 0;
  return c10::cuda::CUDACachingAllocator::getDeviceStats(device.index()).allocated_bytes[kAll].peak;
}

void reset_gpu_peak(at::Device device) {
  if (device.is_cuda()) c10::cuda::CUDACachingAllocator::resetPeakStats(device.index());
}

at::Tensor pinned(const at::Tensor& host) {
  return host.is_pinned() ? host : host.pin_memory();
}

struct ReadBack::Event {
  at::cuda::CUDAEvent event;
};

ReadBack::ReadBack(const at::Tensor& numbers) {
  if (!numbers.is_cuda()) {
    host_ = numbers.cpu();
    return;
  }
  host_ = at::empty(numbers.sizes(), numbers.options().device(at::kCPU).pinned_memory(true));
  host_.copy_(numbers, /*non_blocking=*/true);
  copied_ = std::make_unique<Event>();
  copied_->event.record(at::cuda::getCurrentCUDAStream(numbers.get_device()));
}

std::vector<double> ReadBack::values() const {
  if (copied_) copied_->event.synchronize();
  const auto* first = host_.data_ptr<double>();
  return {first, first + host_.numel()};
}

ReadBack::~ReadBack() = default;
ReadBack::ReadBack(ReadBack&&) noexcept = default;
ReadBack& ReadBack::operator=(ReadBack&&) noexcept = default;

}  // namespace qdqbert::nn
