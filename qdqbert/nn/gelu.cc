#include "qdqbert/nn/gelu.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "qdqbert/nn/kernels/rows.h"

namespace qdqbert::nn {
namespace {

namespace ag = torch::autograd;

constexpr int64_t kGrain = 16384;

void run(const at::Tensor& x, const at::Tensor& y) {
  at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
    row_kernels().gelu(x.data_ptr<float>() + begin, static_cast<size_t>(end - begin),
                       y.data_ptr<float>() + begin);
  });
}

class GeluFunction : public ag::Function<GeluFunction> {
 public:
  static at::Tensor forward(ag::AutogradContext* context, const at::Tensor& x) {
    const at::Tensor in = x.contiguous();
    context->save_for_backward({in});
    at::Tensor y = at::empty_like(in);
    run(in, y);
    return y;
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    const at::Tensor x = context->get_saved_variables()[0], gradient = gradients[0].contiguous();
    at::Tensor out = at::empty_like(gradient);
    at::parallel_for(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
      row_kernels().gelu_backward(x.data_ptr<float>() + begin, gradient.data_ptr<float>() + begin,
                                  static_cast<size_t>(end - begin), out.data_ptr<float>() + begin);
    });
    return {out};
  }
};

}  // namespace

at::Tensor gelu(const at::Tensor& x, bool may_overwrite) {
  if (!x.device().is_cpu() || x.scalar_type() != at::kFloat) return at::gelu(x);
  if (at::GradMode::is_enabled() && x.requires_grad()) return GeluFunction::apply(x);
  const at::Tensor in = x.contiguous();
  const bool in_place = may_overwrite && x.is_contiguous();
  const at::Tensor y = in_place ? in : at::empty_like(in);
  run(in, y);
  return y;
}

}  // namespace qdqbert::nn
