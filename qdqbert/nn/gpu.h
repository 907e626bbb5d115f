// What is asked of GPUs beyond tensors: which there are, how much of their memory was used, numbers read back
// without waiting. gpu_cuda.cc where LibTorch has CUDA and nvcc was found, gpu_none.cc elsewhere.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

namespace qdqbert::nn {

struct Gpu {
  std::string name;
  int64_t memory = 0;        ///< bytes
  int major = 0, minor = 0;  ///< compute capability
};

/// The GPUs of this machine as its driver tells them.
struct Gpus {
  bool built = false;  ///< this build can use one
  int driver = 0;      ///< the newest CUDA that the driver knows, 12040 for 12.4; 0: no driver
  int toolkit = 0;     ///< the CUDA that this build was made with
  std::vector<Gpu> list;
  std::string fault;  ///< what else the driver says; empty when nothing is wrong
};
Gpus find_gpus();

/// Bytes of a GPU's memory that tensors held at most, since the beginning or
/// reset_gpu_peak(). 0 for other devices.
int64_t gpu_peak_memory(at::Device device);
void reset_gpu_peak(at::Device device);

/// A tensor in memory that a GPU copies from and to on its own (the same tensor where there is none).
at::Tensor pinned(const at::Tensor& host);

/// Few numbers on their way from a device: the copy is put behind the work that
/// makes them, and values() waits for it.
class ReadBack {
 public:
  /// `numbers`: float64 [n].
  explicit ReadBack(const at::Tensor& numbers);
  ~ReadBack();
  ReadBack(ReadBack&&) noexcept;
  ReadBack& operator=(ReadBack&&) noexcept;

  std::vector<double> values() const;

 private:
  struct Event;
  at::Tensor host_;
  std::unique_ptr<Event> copied_;
};

}  // namespace qdqbert::nn
