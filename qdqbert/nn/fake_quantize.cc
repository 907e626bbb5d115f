#include "qdqbert/nn/fake_quantize.h"

#include <limits>
#include <tuple>

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/reduce_amax.h"

namespace qdqbert::nn {
namespace {

namespace ag = torch::autograd;
using quant::Arithmetic;
using quant::QuantParams;

constexpr double kTinyAmax = 1.0 / (1 << 24);
// Elements a thread should have at least: below it, waking a thread costs more than the arithmetic.
constexpr int64_t kGrain = 32768;

bool runs_on_spans(const at::Tensor& x, const at::Tensor& amax) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat && amax.scalar_type() == at::kFloat;
}

std::span<const float> span_of(const at::Tensor& contiguous) {
  return {contiguous.data_ptr<float>(), static_cast<size_t>(contiguous.numel())};
}
std::span<float> mutable_span(const at::Tensor& contiguous) {
  return {contiguous.data_ptr<float>(), static_cast<size_t>(contiguous.numel())};
}
Shape shape_of(const at::Tensor& tensor) {
  return tensor.sizes().vec();
}

// One range for everything and no check over the whole tensor: chunks are independent.
bool splits_freely(const at::Tensor& amax, const QuantParams& params) {
  return amax.numel() == 1 && !params.is_unsigned;
}

template <class Body>
void for_chunks(int64_t count, const Body& body) {
  at::parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) {
    body(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  });
}

void forward_on_spans(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params,
                      const at::Tensor& y) {
  const std::span<const float> in = span_of(x);
  const std::span<float> out = mutable_span(y);
  if (splits_freely(amax, params)) {
    const float range = amax.item<float>();
    for_chunks(x.numel(), [&](size_t begin, size_t count) {
      quant::fake_quant(in.subspan(begin, count), quant::AmaxView::per_tensor(range, count), params,
                        out.subspan(begin, count), 1);
    });
  } else {
    quant::fake_quant(in, quant::lay_amax(to_float_array(amax), shape_of(x), params.arithmetic), params, out,
                      at::get_num_threads());
  }
}

at::Tensor backward_on_spans(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params,
                             const at::Tensor& gradient) {
  const at::Tensor grad_y = gradient.contiguous();
  at::Tensor grad_x = at::empty_like(grad_y);
  const std::span<const float> in = span_of(x), from = span_of(grad_y);
  const std::span<float> to = mutable_span(grad_x);
  if (splits_freely(amax, params)) {
    const float range = amax.item<float>();
    for_chunks(x.numel(), [&](size_t begin, size_t count) {
      quant::fake_quant_backward(in.subspan(begin, count), quant::AmaxView::per_tensor(range, count), params,
                                 from.subspan(begin, count), to.subspan(begin, count), 1);
    });
  } else {
    quant::fake_quant_backward(in, quant::lay_amax(to_float_array(amax), shape_of(x), params.arithmetic),
                               params, from, to, at::get_num_threads());
  }
  return grad_x;
}

// The toolkit's sequence of tensor operators: integer values in x's type and the scale as computed.
Quantized quantize_with_operators(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params) {
  if (params.is_unsigned && x.numel() > 0 && x.min().item<double>() < 0) {
    fail("[fake quantization] unsigned quantization met the negative value {}", x.min().item<double>());
  }
  const bool half = x.scalar_type() == at::kHalf;
  const at::Tensor in = half ? x.to(at::kFloat) : x;
  const at::Tensor range = amax.scalar_type() == at::kHalf ? amax.to(at::kFloat) : amax;
  const double smallest = range.min().item<double>();
  if (smallest < 0) fail("[fake quantization] amax must not be negative, got {}", smallest);
  const auto float_on_device = range.options().dtype(at::kFloat);
  at::Tensor scale =
      at::full({}, quant::max_bound(params.num_bits, params.is_unsigned), float_on_device) / range;
  const bool has_tiny = smallest <= kTinyAmax;
  const at::Tensor tiny = has_tiny ? range <= kTinyAmax : at::Tensor();
  if (has_tiny) scale = scale.masked_fill(tiny, 0);
  at::Tensor q = (in * scale)
                     .round_()
                     .clamp_(quant::min_bound(params), quant::max_bound(params.num_bits, params.is_unsigned));
  if (has_tiny) scale = scale.masked_fill(tiny, 1);
  return {half ? q.to(at::kHalf) : q, scale};
}

at::Tensor pass_where_inside(const at::Tensor& x, const at::Tensor& amax, const at::Tensor& gradient) {
  return at::where(x.abs() <= amax, gradient, at::zeros({1}, gradient.options()));
}

at::Tensor toolkit_forward(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params) {
  const Quantized quantized = quantize_with_operators(x, amax, params);
  return quantized.values / quantized.scale.to(x.scalar_type());
}

// One-element amax: the step is formed in double, as the original does from the extracted number.
at::Tensor affine_with_operators(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params) {
  if (x.scalar_type() == at::kHalf || amax.scalar_type() == at::kHalf) {
    fail("[fake quantization] half precision is not supported by the affine arithmetic; use float32");
  }
  const double bound = quant::max_bound(params.num_bits, params.is_unsigned);
  const auto low = static_cast<int64_t>(params.is_unsigned ? 0 : -bound - 1),
             high = static_cast<int64_t>(bound);
  if (amax.numel() == 1) {
    return at::fake_quantize_per_tensor_affine(x, amax.item<double>() / bound, 0, low, high);
  }
  const at::Tensor squeezed = amax.squeeze();
  if (squeezed.dim() != 1) {
    fail("[fake quantization] the affine arithmetic has ranges along one axis only, amax has shape {}",
         to_string(shape_of(amax)));
  }
  int64_t axis = 0;
  while (amax.size(axis) != squeezed.numel()) ++axis;
  const at::Tensor zero_points = at::zeros(squeezed.sizes(), squeezed.options().dtype(at::kInt));
  return at::fake_quantize_per_channel_affine(x, squeezed / bound, zero_points, axis, low, high);
}

class FakeQuantFunction : public ag::Function<FakeQuantFunction> {
 public:
  static at::Tensor forward(ag::AutogradContext* context, const at::Tensor& x, const at::Tensor& amax,
                            const QuantParams& params) {
    const at::Tensor input = runs_on_spans(x, amax) ? x.contiguous() : x;
    context->save_for_backward({input, amax});
    context->saved_data["num_bits"] = params.num_bits;
    context->saved_data["is_unsigned"] = params.is_unsigned;
    context->saved_data["narrow_range"] = params.narrow_range;
    context->saved_data["arithmetic"] = static_cast<int64_t>(params.arithmetic);
    if (!runs_on_spans(x, amax)) return toolkit_forward(x, amax, params);
    at::Tensor y = at::empty_like(input);
    forward_on_spans(input, amax, params, y);
    return y;
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const QuantParams params{static_cast<int>(data["num_bits"].toInt()), data["is_unsigned"].toBool(),
                             data["narrow_range"].toBool(),
                             static_cast<Arithmetic>(data["arithmetic"].toInt())};
    const at::Tensor &x = saved[0], &amax = saved[1];
    const bool on_spans = runs_on_spans(x, amax) && gradients[0].scalar_type() == at::kFloat;
    return {on_spans ? backward_on_spans(x, amax, params, gradients[0])
                     : pass_where_inside(x, amax, gradients[0]),
            at::Tensor(), at::Tensor()};
  }
};

class TensorQuantFunction : public ag::Function<TensorQuantFunction> {
 public:
  static ag::variable_list forward(ag::AutogradContext* context, const at::Tensor& x, const at::Tensor& amax,
                                   const QuantParams& params) {
    context->save_for_backward({x, amax});
    Quantized result = quantize_with_operators(x, amax, params);
    constexpr double kLargestHalf = 65504;
    if (result.values.scalar_type() == at::kHalf && result.scale.max().item<double>() > kLargestHalf) {
      fail("[real quantization] scale {} is too large for half precision, the amax too small",
           result.scale.max().item<double>());
    }
    result.scale = result.scale.to(x.scalar_type());
    context->mark_non_differentiable({result.scale});
    return {result.values, result.scale};
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    return {pass_where_inside(saved[0], saved[1], gradients[0]), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor fake_quantize(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params,
                         bool may_overwrite) {
  const bool on_spans = runs_on_spans(x, amax);
  if (!on_spans && params.arithmetic != Arithmetic::kToolkit) return affine_with_operators(x, amax, params);
  if (at::GradMode::is_enabled() && x.requires_grad())
    return FakeQuantFunction::apply(x, amax.detach(), params);
  if (!on_spans) return toolkit_forward(x, amax, params);
  const bool in_place = may_overwrite && x.is_contiguous() && !x.requires_grad();
  const at::Tensor input = x.contiguous();
  at::Tensor y = in_place ? input : at::empty_like(input);
  forward_on_spans(input, amax, params, y);
  return y;
}

Quantized tensor_quantize(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params) {
  auto result = TensorQuantFunction::apply(x, amax.detach(), params);
  return {result[0], result[1]};
}

at::Tensor dynamic_amax(const at::Tensor& x, const std::vector<int>& kept) {
  const at::NoGradGuard no_grad;
  const at::Tensor values = x.detach();
  if (values.numel() == 0) fail("[quantizer] a tensor of shape {} has no range", to_string(shape_of(values)));
  std::vector<int64_t> reduced;
  for (int64_t dim = 0; dim < values.dim(); ++dim) {
    if (std::find(kept.begin(), kept.end(), static_cast<int>(dim)) == kept.end()) reduced.push_back(dim);
  }
  const bool to_scalar = static_cast<int64_t>(reduced.size()) == values.dim();
  if (to_scalar && values.device().is_cpu() && values.scalar_type() == at::kFloat) {
    const at::Tensor contiguous = values.contiguous();
    return at::scalar_tensor(quant::abs_max(span_of(contiguous), at::get_num_threads()), at::kFloat);
  }
  if (to_scalar) return values.abs().max();
  at::Tensor result = reduced.empty() ? values.abs() : at::amax(values.abs(), reduced, /*keepdim=*/true);
  return result.numel() == 1 ? result.squeeze() : result;
}

quant::FloatArray to_float_array(const at::Tensor& tensor) {
  const at::Tensor values = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
  const float* first = values.data_ptr<float>();
  return {shape_of(values), std::vector<float>(first, first + values.numel())};
}

at::Tensor to_tensor(const quant::FloatArray& array) {
  return at::tensor(at::ArrayRef<float>(array.values)).reshape(array.shape);
}

}  // namespace qdqbert::nn
