// The libraries that carry collective calls: Gloo between processors, NCCL between GPUs.
#pragma once

#include <chrono>

#include <torch/version.h>
#if TORCH_VERSION_MAJOR < 2
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#else
#include <torch/csrc/distributed/c10d/Backend.hpp>
#endif
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "qdqbert/train/launch.h"

namespace qdqbert::train {

#if TORCH_VERSION_MAJOR < 2
using Backend = c10d::ProcessGroup;
#else
using Backend = c10d::Backend;
#endif

/// Connects the GPUs of all ranks, each rank's `device`; collective, with the help of a store that all reach.
/// process_nccl.cc where LibTorch has CUDA, process_no_nccl.cc elsewhere, which throws UsageError.
c10::intrusive_ptr<Backend> connect_gpus(const c10::intrusive_ptr<c10d::Store>& store, const Launch& launch,
                                         at::Device device, std::chrono::milliseconds patience);

}  // namespace qdqbert::train
