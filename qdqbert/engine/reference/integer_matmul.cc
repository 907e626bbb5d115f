// MatMulInteger and QLinearMatMul; com.microsoft.MatMulIntegerToFloat and DynamicQuantizeMatMul.
#include <cstring>

#include "qdqbert/engine/reference/gemm.h"
#include "qdqbert/engine/reference/quantization.h"
#include "qdqbert/engine/reference/types.h"
#include "qdqbert/engine/reference/zip.h"

namespace qdqbert::engine::reference {

namespace {

/// Codes less their zero point: one for all, or one for each row (a) or column (b) of the matrices.
Tensor centered(const Call& call, const Tensor& codes, const Tensor* zero_point, bool by_row) {
  Shape aligned;
  if (zero_point) {
    if (zero_point->dtype != codes.dtype)
      call.refuse("codes are {}, their zero point {}", name_of(codes.dtype), name_of(zero_point->dtype));
    aligned = zero_point->shape;
    if (zero_point->count() == 1)
      aligned = {};
    else if (by_row && aligned.size() == 1)
      aligned.push_back(1);
    if (call.broadcast(aligned, codes.shape) != codes.shape)
      call.refuse("zero points of {} do not fit {}", to_string(zero_point->shape), to_string(codes.shape));
  }
  Tensor out;
  with_type(call, codes.dtype, CodeTypes{}, [&]<class Code>(Type<Code>) {
    if (!zero_point) {
      out = map<Code, int32_t>(call, codes, DType::kI32, [](Code c) { return int32_t{c}; });
    } else {
      out = zip<Code, Code, int32_t>(call, codes, reshaped(*zero_point, aligned), DType::kI32,
                                     [](Code c, Code zero) { return int32_t{c} - int32_t{zero}; });
    }
  });
  return out;
}

/// Exact modulo 2^32.
Tensor integer_product(const Call& call, const Tensor& a, const Tensor& b) {
  const MatMulShape shape = matmul_shape(call, a.shape, b.shape);
  const int64_t m = shape.m, n = shape.n, k = shape.k;
  WritableTensor out = call.allocate(DType::kI32, shape.out);
  std::memset(out.data, 0, out.tensor.bytes.size());
  const auto *left = a.as<uint32_t>().data(), *right = b.as<uint32_t>().data();
  auto* to = out.as<uint32_t>();
  const auto matrices = static_cast<int64_t>(shape.a_matrix.size());
  call.parallel(matrices * m, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const auto matrix = static_cast<size_t>(row / m);
      const uint32_t* x = left + (shape.a_matrix[matrix] * m + row % m) * k;
      const uint32_t* y = right + shape.b_matrix[matrix] * k * n;
      uint32_t* z = to + row * n;
      for (int64_t l = 0; l < k; ++l)
        for (int64_t j = 0; j < n; ++j) z[j] += x[l] * y[l * n + j];
    }
  });
  return out.tensor;
}

std::vector<Tensor> matmul_integer(const Call& call) {
  const Tensor a = centered(call, call.input(0), call.optional(2), true);
  const Tensor b = centered(call, call.input(1), call.optional(3), false);
  return {integer_product(call, a, b)};
}

/// A scale that is one for all columns of the result, or one for each.
void require_columns(const Call& call, const Tensor& scale, const Shape& result, std::string_view what) {
  call.require(scale, DType::kF32, what);
  const bool fits =
      scale.count() == 1 || (scale.shape.size() == 1 && !result.empty() && scale.shape[0] == result.back());
  if (!fits)
    call.refuse("{} of {} does not fit a result of {}", what, to_string(scale.shape), to_string(result));
  for (const float value : scale.as<float>())
    if (!(value > 0) || std::isinf(value)) call.refuse("{} {} is not finite and positive", what, value);
}

std::vector<Tensor> qlinear_matmul(const Call& call) {
  const Tensor a = centered(call, call.input(0), call.optional(2), true);
  const Tensor b = centered(call, call.input(3), call.optional(5), false);
  const Tensor &a_scale = call.input(1), &b_scale = call.input(4);
  const Tensor sums = integer_product(call, a, b);
  if (a_scale.count() != 1)
    call.refuse("a scale for each row of A ({}) is not supported", to_string(a_scale.shape));
  require_columns(call, a_scale, sums.shape, "the scale of A");
  require_columns(call, b_scale, sums.shape, "the scale of B");
  const Quantizer y = quantizer_of_tensor(call, call.input(6), call.optional(7), DType::kU8);
  // One factor a column, as ONNX Runtime folds them: (a * b) / y, each rounded to float.
  std::vector<float> factors;
  for (const float scale : b_scale.as<float>())
    factors.push_back(a_scale.as<float>()[0] * scale / y.scale[0]);
  const int64_t columns = static_cast<int64_t>(factors.size());
  WritableTensor out = call.allocate(y.dtype, sums.shape);
  with_type(call, y.dtype, CodeTypes{}, [&]<class Code>(Type<Code>) {
    const int32_t* from = sums.as<int32_t>().data();
    Code* to = out.as<Code>();
    for (int64_t i = 0, count = sums.count(); i < count; ++i)
      to[i] = quantized<Code>(static_cast<float>(from[i]) * factors[static_cast<size_t>(i % columns)],
                              y.zero_point[0]);
  });
  return {out.tensor};
}

Tensor to_float(const Call& call, const Tensor& sums, const Tensor& a_scale, const Tensor& b_scale,
                const Tensor* bias) {
  if (a_scale.count() != 1) call.refuse("A has {} scales, one is supported", a_scale.count());
  require_columns(call, a_scale, sums.shape, "the scale of A");
  require_columns(call, b_scale, sums.shape, "the scale of B");
  const float first = a_scale.as<float>()[0];
  const Tensor factors =
      map<float, float>(call, b_scale, DType::kF32, [first](float s) { return first * s; });
  const Tensor y = zip<int32_t, float, float>(call, sums, reshaped(factors, {factors.count()}), DType::kF32,
                                              [](int32_t v, float s) { return static_cast<float>(v) * s; });
  if (!bias) return reshaped(y, sums.shape);
  call.require(*bias, DType::kF32, "the bias");
  if (call.broadcast(bias->shape, sums.shape) != sums.shape)
    call.refuse("a bias of {} does not fit a result of {}", to_string(bias->shape), to_string(sums.shape));
  return zip<float, float, float>(call, reshaped(y, sums.shape), *bias, DType::kF32,
                                  [](float v, float b) { return v + b; });
}

std::vector<Tensor> matmul_integer_to_float(const Call& call) {
  const Tensor a = centered(call, call.input(0), call.optional(4), true);
  const Tensor b = centered(call, call.input(1), call.optional(5), false);
  return {to_float(call, integer_product(call, a, b), call.input(2), call.input(3), call.optional(6))};
}

std::vector<Tensor> dynamic_quantize_matmul(const Call& call) {
  Node quantizing;
  quantizing.name = call.node.name;
  quantizing.op = "DynamicQuantizeLinear";
  quantizing.inputs = {0};
  quantizing.outputs = {0, 1, 2};
  const Tensor* x[] = {&call.input(0)};
  const std::vector<Tensor> quantized = evaluate(quantizing, x, call.environment);
  const Tensor a = centered(call, quantized[0], &quantized[2], true);
  const Tensor b = centered(call, call.input(1), call.optional(3), false);
  return {to_float(call, integer_product(call, a, b), quantized[1], call.input(2), call.optional(4))};
}

}  // namespace

std::span<const Operator> integer_matmul_operators() {
  static const Operator rows[] = {
      {.name = "MatMulInteger", .function = matmul_integer, .inputs = 2},
      {.name = "QLinearMatMul", .function = qlinear_matmul, .inputs = 7},
      {.name = "com.microsoft.MatMulIntegerToFloat", .function = matmul_integer_to_float, .inputs = 4},
      {.name = "com.microsoft.DynamicQuantizeMatMul", .function = dynamic_quantize_matmul, .inputs = 3},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
