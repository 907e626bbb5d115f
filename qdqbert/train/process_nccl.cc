#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "qdqbert/train/process_backend.h"

namespace qdqbert::train {

c10::intrusive_ptr<Backend> connect_gpus(const c10::intrusive_ptr<c10d::Store>& store, const Launch& launch,
                                         at::Device device, std::chrono::milliseconds patience) {
  // Barriers and the first communicator are made on the current device.
  c10::cuda::set_device(device.index());
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = patience;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("gpus", store),
                                                     launch.rank, launch.size, options);
}

}  // namespace qdqbert::train
