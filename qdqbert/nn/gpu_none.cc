#include "qdqbert/nn/gpu.h"

namespace qdqbert::nn {

Gpus find_gpus() {
  return {};
}

int64_t gpu_peak_memory(at::Device) {
  return 0;
}

void reset_gpu_peak(at::Device) {}

at::Tensor pinned(const at::Tensor& host) {
  return host;
}

struct ReadBack::Event {};

ReadBack::ReadBack(const at::Tensor& numbers) : host_(numbers.cpu()) {}

std::vector<double> ReadBack::values() const {
  const auto* first = host_.data_ptr<double>();
  return {first, first + host_.numel()};
}

ReadBack::~ReadBack() = default;
ReadBack::ReadBack(ReadBack&&) noexcept = default;
ReadBack& ReadBack::operator=(ReadBack&&) noexcept = default;

}  // namespace qdqbert::nn
