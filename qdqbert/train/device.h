// Where a model computes: what --device asks for, what this machine has,
// and the way of tensors there and back.
#pragma once

#include <exception>
#include <optional>
#include <string>
#include <string_view>

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include "qdqbert/model/model_io.h"
#include "qdqbert/nn/gpu.h"
#include "qdqbert/train/launch.h"

namespace qdqbert::train {

/// "auto": a GPU when there is one; "cpu"; "cuda", "cuda:1".
struct DeviceRequest {
  enum class Kind { kAuto, kCpu, kGpu } kind = Kind::kAuto;
  std::optional<int> number;
};

/// Throws UsageError for any other word.
DeviceRequest parse_device(std::string_view text);

/// The device that is asked for, of those in `gpus`. With a launch each process takes the GPU of its number
/// on this machine. kAuto falls back to the CPU; where a GPU is there but cannot be used, `remark` says why.
/// Throws UsageError: no such GPU or none at all, a build without CUDA, a driver older than the build's CUDA,
/// a GPU older than its kernels, a number together with several processes, more processes than GPUs.
struct ChosenDevice {
  at::Device device = at::kCPU;
  std::string remark;
};
ChosenDevice choose_device(const DeviceRequest& request, const nn::Gpus& gpus,
                           const std::optional<Launch>& launch = std::nullopt);

/// "cuda:0 (NVIDIA A100-SXM4-80GB, 80.0 GiB)", "cpu".
std::string describe(at::Device device, const nn::Gpus& gpus);

/// Where the parameters of a model lie.
at::Device device_of(const torch::nn::Module& model);

/// All tensors of a batch on `device`; those that are there already are not copied. For a GPU the copies go
/// through pinned memory and are put behind its work, so nobody waits for them.
model::ModelInputs to_device(const model::ModelInputs& inputs, at::Device device);
/// What tasks read (logits, start and end logits, last hidden state) in float32 on the CPU; the rest is
/// dropped unless it is there already.
model::ModelOutputs to_host(model::ModelOutputs outputs);

/// Whether an exception of LibTorch says that a GPU's memory is used up.
bool is_out_of_gpu_memory(const std::exception& error);
/// "2.50 GiB more were asked for" from such an exception, or its first line.
std::string memory_asked_for(const std::exception& error);
/// Throws an Error in one sentence for such an exception: what there was no memory for, and the remedy.
[[noreturn]] void refuse_for_memory(std::string_view subject, at::Device device,
                                    const model::ModelInputs& inputs, std::string_view remedy,
                                    const std::exception& error);
/// Runs a forward pass outside of training.
template <class Work>
auto with_memory_for(std::string_view subject, at::Device device, const model::ModelInputs& inputs,
                     Work&& work) {
  try {
    return work();
  } catch (const c10::Error& error) {
    if (!is_out_of_gpu_memory(error)) throw;
    refuse_for_memory(subject, device, inputs, "a smaller --per_device_eval_batch_size needs less", error);
  }
}

}  // namespace qdqbert::train
