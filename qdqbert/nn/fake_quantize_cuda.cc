#include "qdqbert/nn/fake_quantize_cuda.h"

#include <optional>

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/autograd/custom_function.h>

#include "qdqbert/base/error.h"
#include "qdqbert/nn/kernels/fake_quant_cuda.h"

namespace qdqbert::nn {
namespace {

namespace ag = torch::autograd;
using quant::QuantParams;

void check_launch(int error) {
  if (error != 0) fail("[fake quantization] the GPU refused the kernel: {}", cuda_error_text(error));
}

/// Elements behind the one dimension of `x` that `amax` has values for; nullopt when there are several.
std::optional<int64_t> inner_size(const at::Tensor& x, const at::Tensor& amax) {
  if (amax.numel() == 1) return std::max<int64_t>(1, x.numel());
  if (amax.dim() > x.dim()) return std::nullopt;
  const int64_t shift = x.dim() - amax.dim();
  for (int64_t dim = 0; dim < amax.dim(); ++dim) {
    if (amax.size(dim) == 1) continue;
    if (amax.size(dim) != amax.numel() || x.size(shift + dim) != amax.numel()) return std::nullopt;
    int64_t inner = 1;
    for (int64_t behind = shift + dim + 1; behind < x.dim(); ++behind) inner *= x.size(behind);
    return inner;
  }
  return std::nullopt;
}

/// `mask` may be undefined.
void launch(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params, const at::Tensor& y,
            const at::Tensor& mask) {
  const c10::cuda::CUDAGuard device(x.device());
  const at::Tensor ranges = amax.contiguous();
  const auto channels = static_cast<size_t>(ranges.numel());
  // The caching allocator gives this memory to later work of the same stream only, so it may go at once.
  const at::Tensor scratch =
      at::empty({static_cast<int64_t>(cuda_fake_quant_scratch(channels))}, ranges.options());
  const ElementBounds bounds{quant::min_bound(params), quant::max_bound(params.num_bits, params.is_unsigned),
                             params.is_unsigned};
  auto* bits = mask.defined() ? reinterpret_cast<uint32_t*>(mask.data_ptr<int32_t>()) : nullptr;
  check_launch(fake_quant_cuda(
      {x.data_ptr<float>(), y.data_ptr<float>(), static_cast<size_t>(x.numel()), ranges.data_ptr<float>(),
       channels, static_cast<size_t>(*inner_size(x, ranges)), bounds, scratch.data_ptr<float>(), bits},
      c10::cuda::getCurrentCUDAStream()));
}

class FakeQuantOnCuda : public ag::Function<FakeQuantOnCuda> {
 public:
  static at::Tensor forward(ag::AutogradContext* context, const at::Tensor& x, const at::Tensor& amax,
                            const QuantParams& params) {
    const at::Tensor in = x.contiguous(), y = at::empty_like(in);
    const auto words = static_cast<int64_t>(cuda_mask_words(static_cast<size_t>(in.numel())));
    const at::Tensor mask = at::empty({words}, in.options().dtype(at::kInt));
    launch(in, amax, params, y, mask);
    context->saved_data["passes"] = mask;
    return y;
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    const at::Tensor mask = context->saved_data["passes"].toTensor(), to_y = gradients[0].contiguous();
    const at::Tensor to_x = at::empty_like(to_y);
    const c10::cuda::CUDAGuard device(to_y.device());
    check_launch(pass_marked_cuda(
        to_y.data_ptr<float>(), reinterpret_cast<const uint32_t*>(mask.data_ptr<int32_t>()),
        static_cast<size_t>(to_y.numel()), to_x.data_ptr<float>(), c10::cuda::getCurrentCUDAStream()));
    return {to_x, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

bool has_cuda_kernels(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params) {
  return x.is_cuda() && amax.device() == x.device() && x.scalar_type() == at::kFloat &&
         amax.scalar_type() == at::kFloat && params.arithmetic == quant::Arithmetic::kToolkit &&
         inner_size(x, amax).has_value();
}

at::Tensor fake_quantize_on_cuda(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params,
                                 bool may_overwrite) {
  if (at::GradMode::is_enabled() && x.requires_grad())
    return FakeQuantOnCuda::apply(x, amax.detach(), params);
  const bool in_place = may_overwrite && x.is_contiguous() && !x.requires_grad();
  const at::Tensor in = x.contiguous(), y = in_place ? in : at::empty_like(in);
  launch(in, amax, params, y, {});
  return y;
}

}  // namespace qdqbert::nn
