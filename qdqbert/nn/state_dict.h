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

}  // namespace qdqbert::nn
