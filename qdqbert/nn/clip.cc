#include "qdqbert/nn/clip.h"

#include <ostream>

#include <torch/csrc/autograd/custom_function.h>

#include "qdqbert/base/error.h"

namespace qdqbert::nn {
namespace {

namespace ag = torch::autograd;

class ClipFunction : public ag::Function<ClipFunction> {
 public:
  static at::Tensor forward(ag::AutogradContext* context, const at::Tensor& input, const at::Tensor& clip_min,
                            const at::Tensor& clip_max) {
    context->save_for_backward({input, clip_min, clip_max});
    return at::maximum(at::minimum(input, clip_max), clip_min);
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &low = saved[1], &high = saved[2];
    if (low.numel() != 1 || high.numel() != 1) {
      fail("[clip] a gradient needs scalar bounds, got {} and {} elements", low.numel(), high.numel());
    }
    const at::Tensor& gradient = gradients[0];
    const at::Tensor above = input > low, below = input < high;
    at::Tensor low_gradient, high_gradient;
    if (low.requires_grad()) low_gradient = gradient.masked_fill(above, 0).sum().to(low.scalar_type());
    if (high.requires_grad()) high_gradient = gradient.masked_fill(below, 0).sum().to(low.scalar_type());
    return {gradient * above * below, low_gradient, high_gradient};
  }
};

}  // namespace

at::Tensor clip(const at::Tensor& input, const at::Tensor& clip_min, const at::Tensor& clip_max) {
  return ClipFunction::apply(input, clip_min, clip_max);
}

Clip::Clip(double clip_min, double clip_max, bool learn_min, bool learn_max)
    : torch::nn::Module("Clip"),
      clip_value_min(at::scalar_tensor(clip_min, at::kFloat)),
      clip_value_max(at::scalar_tensor(clip_max, at::kFloat)) {
  if (learn_min) register_parameter("clip_value_min", clip_value_min);
  if (learn_max) register_parameter("clip_value_max", clip_value_max);
}

at::Tensor Clip::forward(const at::Tensor& input) {
  return nn::clip(input, clip_value_min.to(input.device()), clip_value_max.to(input.device()));
}

void Clip::pretty_print(std::ostream& stream) const {
  stream << "Clip()";
}

}  // namespace qdqbert::nn
