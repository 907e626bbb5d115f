// The peer of the model benchmark: the original's sequence of PyTorch operators, one after the other, on
// LibTorch. Every quantizer runs the operators of toolkit 2.1.2, weights are quantized in every pass, and
// each linear layer, product and mask is an operator of its own, as eager Python calls them.
#pragma once

#include "qdqbert/model/heads.h"

namespace qdqbert::benchmarks {

struct EagerLogits {
  at::Tensor start, end;
};

/// The forward pass of a question answering model whose quantizers all have ranges and are enabled.
EagerLogits eager_forward(model::QDQBertForQuestionAnswering& model, const at::Tensor& ids,
                          const at::Tensor& mask);

/// The same in calibration: nothing is quantized; `collect` gets each quantizer's input.
using Collect = std::function<void(const nn::TensorQuantizer&, const at::Tensor&)>;
EagerLogits eager_calibration(model::QDQBertForQuestionAnswering& model, const at::Tensor& ids,
                              const at::Tensor& mask, const Collect& collect);

}  // namespace qdqbert::benchmarks
