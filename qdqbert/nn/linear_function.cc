#include "qdqbert/nn/linear_function.h"

#include <torch/csrc/autograd/custom_function.h>

#include "qdqbert/nn/autocast.h"
#include "qdqbert/nn/fake_quantize.h"
#include "qdqbert/nn/gemm.h"

namespace qdqbert::nn {
namespace {

namespace ag = torch::autograd;

bool is_float_on_cpu(const at::Tensor& x) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat;
}

Operand operand(const at::Tensor& matrix, bool transposed = false) {
  return {matrix.data_ptr(), matrix.size(1), transposed};
}

at::Tensor in_precision(const at::Tensor& x, Precision precision) {
  return precision == Precision::kBFloat16 ? x.to(at::kBFloat16) : x;
}

// `rows` and `weight` have the precision's type.
at::Tensor product(const at::Tensor& rows, const at::Tensor& weight, const at::Tensor& bias,
                   Precision precision) {
  at::Tensor y = at::empty({rows.size(0), weight.size(0)}, at::kFloat);
  const at::Tensor values = bias.defined() ? bias.detach().contiguous() : at::Tensor();
  multiply({rows.size(0), weight.size(0), weight.size(1)}, operand(rows), operand(weight, true),
           values.defined() ? values.data_ptr<float>() : nullptr, y.data_ptr<float>(), precision);
  return y;
}

// What is no parameter of the graph: the input as [rows, in] and the weight,
// both in the precision of the products.
struct LinearOperands {
  at::Tensor rows, values, passes;
  bool has_bias;
};

class LinearFunction : public ag::Function<LinearFunction> {
 public:
  static at::Tensor forward(ag::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, const LinearOperands& operands) {
    const at::Tensor &rows = operands.rows, &values = operands.values;
    const bool rounded = rows.scalar_type() == at::kBFloat16;
    context->save_for_backward({weight.requires_grad() ? rows : at::Tensor(),
                                x.requires_grad() ? values : at::Tensor(), operands.passes});
    context->saved_data["shape"] = x.sizes();
    context->saved_data["rounded"] = rounded;
    context->saved_data["bias"] = operands.has_bias && bias.requires_grad();
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = values.size(0);
    return product(rows, values, operands.has_bias ? bias : at::Tensor(),
                   rounded ? Precision::kBFloat16 : Precision::kFloat32)
        .view(shape);
  }

  static ag::variable_list backward(ag::AutogradContext* context, ag::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const at::Tensor &rows = saved[0], &values = saved[1], &passes = saved[2];
    const Precision precision = data["rounded"].toBool() ? Precision::kBFloat16 : Precision::kFloat32;
    const std::vector<int64_t> shape = data["shape"].toIntVector();
    const at::Tensor exact = gradients[0].to(at::kFloat).contiguous().view({-1, gradients[0].size(-1)});
    const at::Tensor gradient = in_precision(exact, precision);
    const int64_t count = gradient.size(0), out = gradient.size(1), in = shape.back();
    at::Tensor to_x, to_weight, to_bias;
    if (values.defined()) {
      to_x = at::empty(shape, at::kFloat);
      multiply({count, in, out}, operand(gradient), operand(values), nullptr, to_x.data_ptr<float>(),
               precision);
    }
    if (rows.defined()) {
      to_weight = at::empty({out, in}, at::kFloat);
      multiply({out, in, count}, operand(gradient, true), operand(rows), nullptr, to_weight.data_ptr<float>(),
               precision);
      if (passes.defined()) pass_marked_(to_weight, passes);
    }
    if (data["bias"].toBool()) {
      to_bias = at::empty({out}, at::kFloat);
      sum_rows(exact.data_ptr<float>(), count, out, to_bias.data_ptr<float>());
    }
    return {to_x, to_weight, to_bias, at::Tensor()};
  }
};

}  // namespace

bool can_prepare(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const bool fits = x.dim() >= 1 && weight.dim() == 2 && x.size(-1) == weight.size(1) && x.numel() > 0;
  return has_gemm() && fits && weight.is_contiguous() && is_float_on_cpu(x) && is_float_on_cpu(weight) &&
         !(bias.defined() && !is_float_on_cpu(bias)) && !(HalfAutocast::is_on() && !has_bf16_gemm());
}

at::Tensor linear_prepared(const at::Tensor& x, const at::Tensor& weight, PreparedWeight& prepared,
                           const at::Tensor& bias, bool may_round) {
  const Precision precision = may_round && HalfAutocast::is_on() ? Precision::kBFloat16 : Precision::kFloat32;
  const at::Tensor flat = x.detach().contiguous().view({-1, x.size(-1)}),
                   rows = in_precision(flat, precision);
  if (precision == Precision::kBFloat16 && !prepared.bf16.defined())
    prepared.bf16 = prepared.values.to(at::kBFloat16);
  const at::Tensor& values = precision == Precision::kBFloat16 ? prepared.bf16 : prepared.values;
  const bool learns = at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad() ||
                                                     (bias.defined() && bias.requires_grad()));
  if (learns) {
    // An argument of the graph has to be a tensor.
    const at::Tensor present = bias.defined() ? bias : at::empty({0});
    return LinearFunction::apply(x, weight, present,
                                 LinearOperands{rows, values, prepared.passes, bias.defined()});
  }
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = values.size(0);
  return product(rows, values, bias, precision).view(shape);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, bool may_round) {
  if (!can_prepare(x, weight, bias)) return at::linear(x, weight, bias);
  PreparedWeight as_it_is{weight.detach(), {}, {}};
  return linear_prepared(x, weight, as_it_is, bias, may_round);
}

}  // namespace qdqbert::nn
