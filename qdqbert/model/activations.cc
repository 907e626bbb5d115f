#include "qdqbert/model/activations.h"

#include <cmath>
#include <numbers>

#include "qdqbert/nn/gelu.h"

namespace qdqbert::model {
namespace {

at::Tensor gelu_tanh(const at::Tensor& x) {
  const double factor = std::sqrt(2.0 / std::numbers::pi);
  return 0.5 * x * (1.0 + at::tanh(factor * (x + 0.044715 * at::pow(x, 3.0))));
}

at::Tensor laplace(const at::Tensor& x) {
  constexpr double kMean = 0.707107, kDeviation = 0.282095;
  return 0.5 * (1.0 + at::erf((x - kMean).div(kDeviation * std::numbers::sqrt2)));
}

}  // namespace

at::Tensor activate(io::Activation activation, const at::Tensor& x, bool may_overwrite) {
  using enum io::Activation;
  const bool in_place = may_overwrite && !(at::GradMode::is_enabled() && x.requires_grad());
  switch (activation) {
    case kGelu:
      return nn::gelu(x, may_overwrite);
    case kGelu10: {
      // Never below -0.17. Not clip(), whose gradient at the bound is 1 or 0 by LibTorch's release.
      const at::Tensor y = nn::gelu(x), bound = at::full({}, 10.0, y.options());
      return at::where(y > bound, bound, y);
    }
    case kGeluPython:
      return x * 0.5 * (1.0 + at::erf(x / std::numbers::sqrt2));
    case kGeluNew:
    case kGeluAccurate:
    case kGeluPytorchTanh:
      return gelu_tanh(x);
    case kGeluFast:
      return 0.5 * x * (1.0 + at::tanh(x * 0.7978845608 * (1.0 + 0.044715 * x * x)));
    case kLaplace:
      return laplace(x);
    case kLeakyRelu:
      return at::leaky_relu(x);
    case kLinear:
      return x;
    case kMish:
      return at::mish(x);
    case kQuickGelu:
      return x * at::sigmoid(1.702 * x);
    case kRelu: {
      if (!in_place) return at::relu(x);
      at::Tensor y = x;
      return at::relu_(y);
    }
    case kRelu2:
      return at::square(at::relu(x));
    case kRelu6:
      return at::hardtanh(x, 0.0, 6.0);
    case kSigmoid:
      return at::sigmoid(x);
    case kSilu:
    case kSwish:
      return at::silu(x);
    case kTanh:
      return at::tanh(x);
  }
  return x;
}

}  // namespace qdqbert::model
