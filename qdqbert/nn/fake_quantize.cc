#include "qdqbert/nn/fake_quantize.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/math.h"
#ifdef QDQBERT_HAS_CUDA_KERNELS
#include "qdqbert/nn/fake_quantize_cuda.h"
#endif
#include "qdqbert/nn/kernels/rows.h"
#include "qdqbert/quant/reduce_amax.h"

namespace qdqbert::nn {
namespace {

namespace ag = torch::autograd;
using quant::Arithmetic;
using quant::QuantParams;

constexpr double kTinyAmax = 1.0 / (1 << 24);
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// Elements a thread should have at least: below it, waking a thread costs more than the arithmetic.
constexpr int64_t kGrain = 32768;

bool runs_on_spans(const at::Tensor& x, const at::Tensor& amax) {
  return x.device().is_cpu() && amax.device().is_cpu() && x.scalar_type() == at::kFloat &&
         amax.scalar_type() == at::kFloat;
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

// Calls run(begin, view, length) for parts of a tensor that do not depend on each other, on several threads.
// Parts begin at multiples of eight elements, so that no byte of a mask belongs to two. One part where a
// check is over the whole: negative values when unsigned, a NaN among ranges.
template <class Run>
void for_parts(int64_t count, const quant::AmaxView& view, const QuantParams& params, const Run& run) {
  constexpr int64_t kByte = 8;
  const bool has_nan = std::any_of(view.values.begin(), view.values.end(), [](float v) { return v != v; });
  const auto channels = static_cast<int64_t>(view.channels);
  if (params.is_unsigned || (channels > 1 && (has_nan || view.outer != 1)) || count < kGrain) {
    return run(0, view, count);
  }
  const int64_t unit = channels == 1 ? 1 : static_cast<int64_t>(view.inner),
                eights = (count / unit + kByte - 1) / kByte;
  at::parallel_for(
      0, eights, std::max<int64_t>(1, kGrain / (kByte * unit)), [&](int64_t first, int64_t last) {
        const int64_t begin = first * kByte * unit, end = std::min(count, last * kByte * unit);
        const auto from = view.values.begin() + (channels == 1 ? 0 : first * kByte);
        const auto to = channels == 1 ? view.values.end() : view.values.begin() + end / unit;
        quant::AmaxView part{1, static_cast<size_t>(to - from), static_cast<size_t>(unit), {from, to}};
        if (channels == 1) part.inner = static_cast<size_t>(end - begin);
        run(begin, part, end - begin);
      });
}

quant::AmaxView view_of(const at::Tensor& amax, const at::Tensor& x, const QuantParams& params) {
  if (amax.numel() == 1)
    return quant::AmaxView::per_tensor(amax.item<float>(), static_cast<size_t>(x.numel()));
  return quant::lay_amax(to_float_array(amax), shape_of(x), params.arithmetic);
}

// `mask` may be undefined.
void forward_on_spans(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params,
                      const at::Tensor& y, const at::Tensor& mask) {
  const std::span<const float> in = span_of(x);
  const std::span<float> out = mutable_span(y);
  uint8_t* bits = mask.defined() ? mask.data_ptr<uint8_t>() : nullptr;
  for_parts(x.numel(), view_of(amax, x, params), params,
            [&](int64_t begin, const quant::AmaxView& view, int64_t length) {
              const auto at = static_cast<size_t>(begin), count = static_cast<size_t>(length);
              if (bits == nullptr) {
                quant::fake_quant(in.subspan(at, count), view, params, out.subspan(at, count), 1);
              } else {
                quant::fake_quant_marked(in.subspan(at, count), view, params, out.subspan(at, count),
                                         {bits + at / 8, (count + 7) / 8}, 1);
              }
            });
}

// The toolkit's sequence of tensor operators: integer values in x's type and the scale as computed. A device
// is not waited for: there what the CPU refuses becomes NaN.
Quantized quantize_with_operators(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params) {
  const bool refuses = x.device().is_cpu();
  if (refuses && params.is_unsigned && x.numel() > 0 && x.min().item<double>() < 0) {
    fail("[fake quantization] unsigned quantization met the negative value {}", x.min().item<double>());
  }
  const bool half = x.scalar_type() == at::kHalf;
  at::Tensor in = half ? x.to(at::kFloat) : x;
  const at::Tensor range = amax.scalar_type() == at::kHalf ? amax.to(at::kFloat) : amax;
  const at::Tensor smallest = range.min();
  if (refuses && smallest.item<double>() < 0) {
    fail("[fake quantization] amax must not be negative, got {}", smallest.item<double>());
  }
  const auto float_on_device = range.options().dtype(at::kFloat);
  at::Tensor scale =
      at::full({}, quant::max_bound(params.num_bits, params.is_unsigned), float_on_device) / range;
  // As in the toolkit, one NaN among the ranges switches the treatment of tiny ones off.
  const at::Tensor tiny = range.le(kTinyAmax).logical_and(smallest.le(kTinyAmax));
  scale = scale.masked_fill(tiny, 0);
  if (!refuses) {
    scale = scale.masked_fill(smallest.lt(0), kNaN);
    if (params.is_unsigned) in = in.masked_fill(in.lt(0), kNaN);
  }
  at::Tensor q = (in * scale)
                     .round_()
                     .clamp_(quant::min_bound(params), quant::max_bound(params.num_bits, params.is_unsigned));
  scale = scale.masked_fill(tiny, 1);
  return {half ? q.to(at::kHalf) : q, scale};
}

at::Tensor pass_where_inside(const at::Tensor& x, const at::Tensor& amax, const at::Tensor& gradient) {
  return at::where(x.abs() <= amax, gradient, at::zeros({1}, gradient.options()));
}

at::Tensor toolkit_forward(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params) {
  const Quantized quantized = quantize_with_operators(x, amax, params);
  return quantized.values / quantized.scale.to(x.scalar_type());
}

// LibTorch's operator on float64, of which some releases round the result to float32.
class AffineInDouble : public ag::Function<AffineInDouble> {
 public:
  /// `step`: float32 [].
  static at::Tensor forward(ag::AutogradContext* context, const at::Tensor& x, const at::Tensor& step,
                            int64_t low, int64_t high) {
    const at::Tensor codes = at::round(x * (1.0F / step));
    context->saved_data["passes"] = at::logical_and(codes >= low, codes <= high);
    return at::clamp(codes, low, high) * step;
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    const at::Tensor passes = context->saved_data["passes"].toTensor();
    return {gradients[0] * passes, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

bool is_half(const at::Tensor& x) {
  return x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16;
}

// One-element amax: the step is formed in double, as the original does from the extracted number. A device
// forms it where the range lies, to the same bits.
at::Tensor affine_with_operators(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params) {
  if (is_half(x) || is_half(amax)) {
    fail("[fake quantization] half precision is not supported by the affine arithmetic; use float32");
  }
  const double bound = quant::max_bound(params.num_bits, params.is_unsigned);
  const auto low = static_cast<int64_t>(params.is_unsigned ? 0 : -bound - 1),
             high = static_cast<int64_t>(bound);
  if (amax.numel() == 1) {
    const bool in_double = x.scalar_type() == at::kDouble;
    if (x.device().is_cpu() && !in_double)
      return at::fake_quantize_per_tensor_affine(x, amax.item<double>() / bound, 0, low, high);
    const at::Tensor step = (amax.reshape({1}).to(at::kDouble) / bound).to(at::kFloat);
    if (in_double) return AffineInDouble::apply(x, step.squeeze(), low, high);
    return at::fake_quantize_per_tensor_affine(x, step, at::zeros({1}, step.options().dtype(at::kInt)), low,
                                               high);
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
    MarkedQuantized result = fake_quantize_marked(x, amax, params);
    context->saved_data["passes"] = result.passes;
    return result.values;
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    return {pass_marked(gradients[0], context->saved_data["passes"].toTensor()), at::Tensor(), at::Tensor()};
  }
};

// The same for types and devices without kernels.
class FakeQuantByOperators : public ag::Function<FakeQuantByOperators> {
 public:
  static at::Tensor forward(ag::AutogradContext* context, const at::Tensor& x, const at::Tensor& amax,
                            const QuantParams& params) {
    context->save_for_backward({x, amax});
    return toolkit_forward(x, amax, params);
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    return {pass_where_inside(saved[0], saved[1], gradients[0]), at::Tensor(), at::Tensor()};
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

bool has_marked_kernels(const at::Tensor& x, const at::Tensor& amax) {
  return runs_on_spans(x, amax);
}

MarkedQuantized fake_quantize_marked(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params) {
  const at::NoGradGuard no_grad;
  const at::Tensor input = x.detach().contiguous();
  const int64_t bytes = divide_up(input.numel(), 8);
  // Readers of masks may read one word past the end.
  MarkedQuantized result{at::empty_like(input), at::empty({round_up(bytes, 8) + 8}, at::kByte)};
  result.passes.slice(0, std::max<int64_t>(0, bytes - 1)).zero_();
  forward_on_spans(input, amax, params, result.values, result.passes);
  return result;
}

namespace {

void pass(const float* from, const at::Tensor& passes, int64_t count, float* to) {
  const auto* mask = reinterpret_cast<const uint64_t*>(passes.data_ptr<uint8_t>());
  at::parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) {
    row_kernels().apply_mask(from + begin, mask, static_cast<size_t>(begin), 1.0F,
                             static_cast<size_t>(end - begin), to + begin);
  });
}

}  // namespace

at::Tensor pass_marked(const at::Tensor& gradient, const at::Tensor& passes) {
  const at::Tensor in = gradient.to(at::kFloat).contiguous();
  at::Tensor out = at::empty_like(in);
  pass(in.data_ptr<float>(), passes, in.numel(), out.data_ptr<float>());
  return out;
}

void pass_marked_(const at::Tensor& gradient, const at::Tensor& passes) {
  pass(gradient.data_ptr<float>(), passes, gradient.numel(), gradient.data_ptr<float>());
}

at::Tensor fake_quantize(const at::Tensor& x, const at::Tensor& amax, const QuantParams& params,
                         bool may_overwrite) {
#ifdef QDQBERT_HAS_CUDA_KERNELS
  if (has_cuda_kernels(x, amax, params)) return fake_quantize_on_cuda(x, amax, params, may_overwrite);
#endif
  const bool on_spans = runs_on_spans(x, amax);
  if (!on_spans && params.arithmetic != Arithmetic::kToolkit) return affine_with_operators(x, amax, params);
  if (at::GradMode::is_enabled() && x.requires_grad()) {
    return on_spans ? FakeQuantFunction::apply(x, amax.detach(), params)
                    : FakeQuantByOperators::apply(x, amax.detach(), params);
  }
  if (!on_spans) return toolkit_forward(x, amax, params);
  const bool in_place = may_overwrite && x.is_contiguous() && !x.requires_grad();
  const at::Tensor input = x.contiguous();
  at::Tensor y = in_place ? input : at::empty_like(input);
  forward_on_spans(input, amax, params, y, {});
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
