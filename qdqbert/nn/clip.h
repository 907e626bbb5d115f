// Clipping with bounds that can be learned.
#pragma once

#include <ATen/ATen.h>
#include <torch/nn/module.h>

namespace qdqbert::nn {

/// max(min(input, clip_max), clip_min) with the toolkit's gradient: to the input strictly between
/// the bounds, to a bound the sum of what lies at or outside it. Bounds broadcast; with more than one
/// element they can only be used without gradient (backward throws InputError then, as the original
/// does). NaN belongs to both outsides.
at::Tensor clip(const at::Tensor& input, const at::Tensor& clip_min, const at::Tensor& clip_max);

/// Two 0-dim float32 bounds, `clip_value_min` and `clip_value_max`: parameters
/// where learned, plain tensors where not.
class Clip : public torch::nn::Module {
 public:
  Clip(double clip_min, double clip_max, bool learn_min, bool learn_max);

  at::Tensor forward(const at::Tensor& input);
  void pretty_print(std::ostream& stream) const override;

  at::Tensor clip_value_min, clip_value_max;
};

}  // namespace qdqbert::nn
