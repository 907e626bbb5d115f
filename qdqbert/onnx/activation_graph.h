// Activation functions as subgraphs.
#pragma once

#include <string>

#include "qdqbert/onnx/builder.h"

namespace qdqbert::onnx {

/// Formulas of config.json's hidden_act. Names that mean the same formula share an entry.
enum class ActivationGraph {
  kGelu,       ///< x (1 + erf(x / sqrt 2)) / 2
  kGelu10,     ///< kGelu clipped to [-10, 10]
  kGeluTanh,   ///< x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
  kGeluFast,   ///< kGeluTanh with its constants factored as gelu_fast has them
  kLaplace,    ///< (1 + erf((x - 0.707107) / (0.282095 sqrt 2))) / 2
  kLeakyRelu,  ///< slope 0.01
  kLinear,
  kMish,       ///< x tanh(softplus x)
  kQuickGelu,  ///< x sigmoid(1.702 x)
  kRelu,
  kRelu2,  ///< relu squared
  kRelu6,
  kSigmoid,
  kSilu,  ///< x sigmoid x
  kTanh,
};

/// Nodes under `scope` that apply the function to `x`, a tensor of type `dtype`.
Value apply_activation(GraphBuilder& graph, ActivationGraph activation, const std::string& scope,
                       const Value& x, DType dtype);

}  // namespace qdqbert::onnx
