// The tensors of a module tree under the names and in the order that Python's state dict has them.
#pragma once

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <torch/nn/module.h>

namespace qdqbert::nn {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// Parameters, then buffers of each module, parents before children, children in registration order. Tensors
/// share storage with the module.
std::vector<NamedTensor> state_dict(const torch::nn::Module& root);

/// Copies `tensors` into the module under the same names. A quantizer without range gets one, on `root`'s
/// device (the CPU when it has no parameters), when its `_amax` is given. Throws InputError naming the
/// tensor: one that is missing, one that the module does not have, another shape. Nothing is copied then.
void load_state(torch::nn::Module& root, const std::vector<NamedTensor>& tensors);

}  // namespace qdqbert::nn
