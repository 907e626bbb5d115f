#include "qdqbert/nn/state_dict.h"

#include <map>

#include "qdqbert/base/dtype.h"
#include "qdqbert/base/error.h"
#include "qdqbert/nn/tensor_quantizer.h"

namespace qdqbert::nn {
namespace {

void collect(const torch::nn::Module& module, const std::string& prefix, std::vector<NamedTensor>& out) {
  for (const auto& item : module.named_parameters(/*recurse=*/false)) {
    out.push_back({prefix + item.key(), item.value()});
  }
  for (const auto& item : module.named_buffers(/*recurse=*/false))
    out.push_back({prefix + item.key(), item.value()});
  for (const auto& child : module.named_children()) collect(*child.value(), prefix + child.key() + ".", out);
}

void collect_quantizers(torch::nn::Module& module, const std::string& prefix,
                        std::map<std::string, TensorQuantizer*>& out) {
  if (auto* quantizer = dynamic_cast<TensorQuantizer*>(&module)) out[prefix + "_amax"] = quantizer;
  for (const auto& child : module.named_children()) {
    collect_quantizers(*child.value(), prefix + child.key() + ".", out);
  }
}

}  // namespace

std::vector<NamedTensor> state_dict(const torch::nn::Module& root) {
  std::vector<NamedTensor> tensors;
  collect(root, "", tensors);
  return tensors;
}

void load_state(torch::nn::Module& root, const std::vector<NamedTensor>& tensors) {
  std::map<std::string, at::Tensor> targets;
  for (NamedTensor& item : state_dict(root)) targets.emplace(item.name, item.tensor);
  std::map<std::string, TensorQuantizer*> quantizers;
  collect_quantizers(root, "", quantizers);

  std::map<std::string, at::Tensor> missing = targets;
  for (const NamedTensor& item : tensors) {
    missing.erase(item.name);
    const auto target = targets.find(item.name);
    if (target == targets.end()) {
      if (!quantizers.contains(item.name)) fail("[state] the module has no tensor {}", item.name);
    } else if (!target->second.sizes().equals(item.tensor.sizes())) {
      fail("[state] {} has shape {} in the module, {} in the state", item.name,
           to_string(Shape(target->second.sizes().vec())), to_string(Shape(item.tensor.sizes().vec())));
    }
  }
  if (!missing.empty()) fail("[state] {} is missing", missing.begin()->first);

  const at::NoGradGuard no_grad;
  const auto parameters = root.parameters();
  const at::Device device = parameters.empty() ? at::Device(at::kCPU) : parameters[0].device();
  for (const NamedTensor& item : tensors) {
    const auto target = targets.find(item.name);
    if (target != targets.end()) {
      target->second.copy_(item.tensor);
    } else {
      quantizers.at(item.name)->replace_amax(item.tensor.to(device));
    }
  }
}

}  // namespace qdqbert::nn
