// AdamW where the parameters lie on a device: whether to step and by what is decided there, too.
#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/train/adamw_element.h"
#include "qdqbert/train/optimizer.h"
#ifdef QDQBERT_HAS_CUDA_KERNELS
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "qdqbert/nn/kernels/fake_quant_cuda.h"
#include "qdqbert/train/adamw_cuda.h"
#endif

namespace qdqbert::train {

namespace {

/// float32 [4]: factor of the gradients, size of the step, root of the second correction, 1 when it goes.
at::Tensor decided(const AdamOptions& options, double learning_rate, const DeviceDecision& decision,
                   const at::Tensor& steps) {
  const bool torch = options.variant == AdamVariant::kTorch;
  const at::Tensor one = at::ones_like(steps);
  const bool correct = torch || options.correct_bias;
  const at::Tensor correction = correct ? 1 - at::pow(options.beta1, steps) : one;
  const at::Tensor root = correct ? at::sqrt(1 - at::pow(options.beta2, steps)) : one;
  const at::Tensor size = (torch ? one * learning_rate : root * learning_rate) / correction;
  return at::stack({decision.factor.to(at::kDouble), size, root, decision.goes.to(at::kDouble)})
      .to(at::kFloat);
}

struct Operands {
  at::Tensor gradient, parameter, mean, square;
};

/// Correctly rounded, as processors and GPUs have it; the operator of LibTorch 2.15 on the CPU
/// is a bit off for one float32 in five.
at::Tensor square_root(const at::Tensor& x) {
  return x.to(at::kDouble).sqrt().to(at::kFloat);
}

void update_by_operators(const AdamCoefficients& c, bool library, const at::Tensor& decided,
                         const Operands& o) {
  const at::Tensor gradient = o.gradient * decided[0], goes = decided[3].ne(0);
  const at::Tensor mean = o.mean * c.beta1 + gradient * c.one_minus_beta1;
  const at::Tensor square = o.square * c.beta2 + gradient * gradient * c.one_minus_beta2;
  at::Tensor after;
  if (library) {
    const at::Tensor moved = o.parameter - decided[1] * (mean / (square_root(square) + c.epsilon));
    after = moved - moved * c.decay;
  } else {
    after = o.parameter * c.keep - decided[1] * (mean / (square_root(square) / decided[2] + c.epsilon));
  }
  o.parameter.copy_(at::where(goes, after, o.parameter));
  o.mean.copy_(at::where(goes, mean, o.mean));
  o.square.copy_(at::where(goes, square, o.square));
}

#ifdef QDQBERT_HAS_CUDA_KERNELS
void update_on_cuda(const AdamCoefficients& c, bool library, const at::Tensor& decided, const Operands& o) {
  const c10::cuda::CUDAGuard device(o.parameter.device());
  const int error =
      adam_cuda({c, decided.data_ptr<float>(), library, static_cast<size_t>(o.parameter.numel()),
                 o.gradient.data_ptr<float>(), o.parameter.data_ptr<float>(), o.mean.data_ptr<float>(),
                 o.square.data_ptr<float>()},
                c10::cuda::getCurrentCUDAStream());
  if (error != 0) fail<Error>("[optimizer] the GPU refused the kernel: {}", nn::cuda_error_text(error));
  // Layers keep quantized weights until the weight's version changes; writes through pointers do not count.
  o.parameter.unsafeGetTensorImpl()->bump_version();
}
#endif

}  // namespace

at::Tensor gradient_norm_on_device(const std::vector<nn::NamedTensor>& parameters) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const nn::NamedTensor& item : parameters)
    if (item.tensor.grad().defined()) gradients.push_back(item.tensor.grad().to(at::kFloat));
  if (gradients.empty()) return at::zeros({}, parameters.at(0).tensor.options().dtype(at::kFloat));
  return at::stack(at::_foreach_norm(gradients, 2)).norm();
}

at::Tensor clip_factor_on_device(const at::Tensor& norm, double max_norm) {
  if (max_norm <= 0) return at::ones_like(norm);
  return (static_cast<float>(max_norm) / (norm + 1e-6F)).clamp_max(1);
}

void AdamW::step_on_device(double learning_rate, const DeviceDecision& decision) {
  const at::NoGradGuard no_grad;
  if (!steps_on_device_.defined())
    steps_on_device_ = at::full({}, static_cast<double>(steps_),
                                decision.factor.options().dtype(at::kDouble).requires_grad(false));
  steps_on_device_ = steps_on_device_ + decision.goes.to(at::kDouble);
  const at::Tensor factors = decided(options_, learning_rate, decision, steps_on_device_);
  const double decay = learning_rate * options_.weight_decay;
  AdamCoefficients c{};
  c.beta1 = static_cast<float>(options_.beta1);
  c.one_minus_beta1 = static_cast<float>(1 - options_.beta1);
  c.beta2 = static_cast<float>(options_.beta2);
  c.one_minus_beta2 = static_cast<float>(1 - options_.beta2);
  c.epsilon = static_cast<float>(options_.epsilon);
  const bool library = options_.variant == AdamVariant::kLibrary;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& gradient = parameters_[i].tensor.grad();
    if (!gradient.defined()) continue;
    c.decay = decayed_[i] ? static_cast<float>(decay) : 0;
    c.keep = decayed_[i] ? static_cast<float>(1 - decay) : 1;
    const Operands operands{gradient.to(at::kFloat).contiguous(), parameters_[i].tensor, mean_[i],
                            square_[i]};
#ifdef QDQBERT_HAS_CUDA_KERNELS
    if (operands.parameter.is_cuda()) {
      update_on_cuda(c, library, factors, operands);
      continue;
    }
#endif
    update_by_operators(c, library, factors, operands);
  }
}

}  // namespace qdqbert::train
