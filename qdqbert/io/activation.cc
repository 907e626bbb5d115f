#include "qdqbert/io/activation.h"

#include <array>
#include <string>
#include <utility>

namespace qdqbert::io {

namespace {

constexpr std::array<std::pair<Activation, std::string_view>, 19> kNames = {{
    {Activation::kGelu, "gelu"},
    {Activation::kGelu10, "gelu_10"},
    {Activation::kGeluAccurate, "gelu_accurate"},
    {Activation::kGeluFast, "gelu_fast"},
    {Activation::kGeluNew, "gelu_new"},
    {Activation::kGeluPython, "gelu_python"},
    {Activation::kGeluPytorchTanh, "gelu_pytorch_tanh"},
    {Activation::kLaplace, "laplace"},
    {Activation::kLeakyRelu, "leaky_relu"},
    {Activation::kLinear, "linear"},
    {Activation::kMish, "mish"},
    {Activation::kQuickGelu, "quick_gelu"},
    {Activation::kRelu, "relu"},
    {Activation::kRelu2, "relu2"},
    {Activation::kRelu6, "relu6"},
    {Activation::kSigmoid, "sigmoid"},
    {Activation::kSilu, "silu"},
    {Activation::kSwish, "swish"},
    {Activation::kTanh, "tanh"},
}};

}  // namespace

std::string_view name_of(Activation activation) {
  for (const auto& [value, name] : kNames)
    if (value == activation) return name;
  return "?";
}

std::optional<Activation> activation_of(std::string_view name) {
  for (const auto& [value, known] : kNames)
    if (known == name) return value;
  return std::nullopt;
}

std::string_view activation_names() {
  static const std::string all = [] {
    std::string list;
    for (const auto& [value, name] : kNames) list.append(list.empty() ? "" : ", ").append(name);
    return list;
  }();
  return all;
}

}  // namespace qdqbert::io
