#include "qdqbert/nn/state_dict.h"

namespace qdqbert::nn {
namespace {

void collect(const torch::nn::Module& module, const std::string& prefix, std::vector<NamedTensor>& out) {
  for (const auto& item : module.named_parameters(/*recurse=*/false))
    out.push_back({prefix + item.key(), item.value()});
  for (const auto& item : module.named_buffers(/*recurse=*/false))
    out.push_back({prefix + item.key(), item.value()});
  for (const auto& child : module.named_children()) collect(*child.value(), prefix + child.key() + ".", out);
}

}  // namespace

std::vector<NamedTensor> state_dict(const torch::nn::Module& root) {
  std::vector<NamedTensor> tensors;
  collect(root, "", tensors);
  return tensors;
}

}  // namespace qdqbert::nn
