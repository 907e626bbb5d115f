// QuantizeLinear and its relatives.
#include <algorithm>
#include <cmath>

#include "qdqbert/engine/reference/operators.h"
#include "qdqbert/engine/reference/table.h"

namespace qdqbert::engine::reference {

namespace {

/// Scale and zero point for each index of one axis, or one of each.
struct Grid {
  std::vector<float> scales;
  std::vector<int64_t> zeros;
  size_t inner = 1, channels = 1;  ///< element i belongs to channel i / inner % channels

  size_t channel(size_t i) const { return channels == 1 ? 0 : i / inner % channels; }
};

Grid grid_of(const Node& n, const Tensor& x, const Tensor& scale, const Tensor* zero) {
  Grid grid;
  grid.scales = to_float32(scale.view());
  if (zero && zero->dtype != DType::kI8 && zero->dtype != DType::kU8 && zero->dtype != DType::kI32)
    fail_node(n, "zero points of {}", name_of(zero->dtype));
  grid.zeros = zero ? to_int64(zero->view()) : std::vector<int64_t>(grid.scales.size(), 0);
  if (grid.scales.size() != grid.zeros.size())
    fail_node(n, "{} scales and {} zero points", grid.scales.size(), grid.zeros.size());
  if (grid.scales.size() == 1) return grid;
  const size_t axis = checked_axis(n, n.integer("axis", 1), x.shape.size());
  grid.channels = grid.scales.size();
  if (static_cast<int64_t>(grid.channels) != x.shape[axis])
    fail_node(n, "{} scales for axis {} of shape {}", grid.channels, axis, to_string(x.shape));
  grid.inner = static_cast<size_t>(
      element_count(Shape(x.shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.shape.end())));
  return grid;
}

int64_t lowest(DType dtype) {
  return dtype == DType::kU8 ? 0 : -128;
}
int64_t highest(DType dtype) {
  return dtype == DType::kU8 ? 255 : 127;
}

int64_t code_of(float value, float scale, int64_t zero, DType dtype) {
  const float rounded = std::nearbyint(value / scale);
  const float shifted = rounded + static_cast<float>(zero);
  if (std::isnan(shifted)) return lowest(dtype);
  return static_cast<int64_t>(
      std::clamp(shifted, static_cast<float>(lowest(dtype)), static_cast<float>(highest(dtype))));
}

void store_code(WritableTensor& out, size_t i, int64_t code) {
  if (out.tensor.dtype == DType::kU8)
    out.as<uint8_t>()[i] = static_cast<uint8_t>(code);
  else
    out.as<int8_t>()[i] = static_cast<int8_t>(code);
}

int64_t load_code(const Tensor& x, size_t i) {
  switch (x.dtype) {
    case DType::kU8:
      return x.as<uint8_t>()[i];
    case DType::kI8:
      return x.as<int8_t>()[i];
    default:
      return x.as<int32_t>()[i];
  }
}

std::vector<Tensor> quantize(const Node& n, Inputs in) {
  const Tensor x = as_float(n, *in[0]);
  const Tensor* zero = optional_input(in, 2);
  const DType dtype = zero ? zero->dtype : DType::kU8;
  if (dtype != DType::kI8 && dtype != DType::kU8) fail_node(n, "codes of {}", name_of(dtype));
  const Grid grid = grid_of(n, x, *in[1], zero);
  WritableTensor out = new_tensor(n, dtype, x.shape);
  const std::span<const float> values = x.as<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t c = grid.channel(i);
    store_code(out, i, code_of(values[i], grid.scales[c], grid.zeros[c], dtype));
  }
  return {out.tensor};
}

std::vector<Tensor> dequantize(const Node& n, Inputs in) {
  const Tensor& x = *in[0];
  if (x.dtype != DType::kI8 && x.dtype != DType::kU8 && x.dtype != DType::kI32)
    fail_node(n, "codes of {}", name_of(x.dtype));
  const Grid grid = grid_of(n, x, *in[1], optional_input(in, 2));
  WritableTensor out = new_tensor(n, DType::kF32, x.shape);
  const auto count = static_cast<size_t>(x.count());
  for (size_t i = 0; i < count; ++i) {
    const size_t c = grid.channel(i);
    out.as<float>()[i] = static_cast<float>(load_code(x, i) - grid.zeros[c]) * grid.scales[c];
  }
  return {like(n, out.tensor, in[1]->dtype)};
}

/// Per-tensor scale and zero point of the operators that carry them as inputs of their own.
Tensor dequantized(const Node& n, const Tensor& codes, const Tensor& scale, const Tensor* zero) {
  const Tensor* operands[] = {&codes, &scale, zero};
  return dequantize(n, operands)[0];
}
Tensor quantized(const Node& n, const Tensor& values, const Tensor& scale, const Tensor* zero) {
  const Tensor* operands[] = {&values, &scale, zero};
  return quantize(n, operands)[0];
}

/// The range of x, widened to hold 0, cut into 255 steps; unsigned codes.
std::vector<Tensor> dynamic_quantize(const Node& n, Inputs in) {
  const Tensor x = as_float(n, *in[0]);
  float low = 0, high = 0;
  for (const float value : x.as<float>()) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  WritableTensor scale = new_tensor(n, DType::kF32, {}), zero = new_tensor(n, DType::kU8, {});
  *scale.as<float>() = high == low ? 1.0f : (high - low) / 255.0f;
  *zero.as<uint8_t>() =
      static_cast<uint8_t>(std::clamp(std::nearbyint(-low / *scale.as<float>()), 0.0f, 255.0f));
  return {quantized(n, x, scale.tensor, &zero.tensor), scale.tensor, zero.tensor};
}

/// Codes minus their zero points, which may differ by row of the first operand or by column of the second.
Tensor shifted(const Node& n, const Tensor& codes, const Tensor* zero, bool by_column) {
  if (codes.dtype != DType::kI8 && codes.dtype != DType::kU8)
    fail_node(n, "codes of {}", name_of(codes.dtype));
  const std::vector<int64_t> zeros = zero ? to_int64(zero->view()) : std::vector<int64_t>{0};
  if (codes.shape.size() < 2) fail_node(n, "an operand of shape {}", to_string(codes.shape));
  const auto columns = static_cast<size_t>(codes.shape.back()),
             rows = static_cast<size_t>(codes.shape[codes.shape.size() - 2]);
  if (zeros.size() != 1 && zeros.size() != (by_column ? columns : rows))
    fail_node(n, "{} zero points for an operand of shape {}", zeros.size(), to_string(codes.shape));
  WritableTensor out = new_tensor(n, DType::kI32, codes.shape);
  const auto count = static_cast<size_t>(codes.count());
  for (size_t i = 0; i < count; ++i) {
    const size_t at = zeros.size() == 1 ? 0 : by_column ? i % columns : i / columns % rows;
    out.as<int32_t>()[i] = static_cast<int32_t>(load_code(codes, i) - zeros[at]);
  }
  return out.tensor;
}

std::vector<Tensor> matmul_integer(const Node& n, Inputs in) {
  return {integer_product(n, shifted(n, *in[0], optional_input(in, 2), false),
                          shifted(n, *in[1], optional_input(in, 3), true))};
}

/// Inputs a, scale, zero, b, scale, zero, scale of the result, zero of the result.
std::vector<Tensor> quantized_matmul(const Node& n, Inputs in) {
  const Tensor sums = integer_product(n, shifted(n, *in[0], in[2], false), shifted(n, *in[3], in[5], true));
  const std::vector<float> a = to_float32(in[1]->view()), b = to_float32(in[4]->view()),
                           y = to_float32(in[6]->view());
  const std::vector<int64_t> zero = to_int64(in[7]->view());
  const size_t columns = sums.shape.empty() ? 1 : static_cast<size_t>(sums.shape.back());
  if (a.size() != 1 || y.size() != 1 || zero.size() != 1 || (b.size() != 1 && b.size() != columns))
    fail_node(n, "{} and {} scales, {} of the result", a.size(), b.size(), y.size());
  WritableTensor out = new_tensor(n, in[7]->dtype, sums.shape);
  const auto count = static_cast<size_t>(sums.count());
  for (size_t i = 0; i < count; ++i) {
    const float factor = a[0] * b[b.size() == 1 ? 0 : i % columns] / y[0];
    store_code(out, i,
               code_of(static_cast<float>(sums.as<int32_t>()[i]) * factor, 1.0f, zero[0], in[7]->dtype));
  }
  return {out.tensor};
}

/// Inputs a, scale, zero, b, scale, zero, scale of the result, zero of the result; computed in float.
std::vector<Tensor> quantized_pair(const Node& n, Inputs in, const char* op) {
  const Tensor a = dequantized(n, *in[0], *in[1], in[2]), b = dequantized(n, *in[3], *in[4], in[5]);
  const Tensor* operands[] = {&a, &b};
  Node inner = n;
  inner.op = op;
  return {quantized(n, evaluate(inner, operands)[0], *in[6], optional_input(in, 7))};
}
std::vector<Tensor> quantized_add(const Node& n, Inputs in) {
  return quantized_pair(n, in, "Add");
}
std::vector<Tensor> quantized_mul(const Node& n, Inputs in) {
  return quantized_pair(n, in, "Mul");
}

constexpr Operator kOperators[] = {
    {"QuantizeLinear", 2, 3, quantize},
    {"DequantizeLinear", 2, 3, dequantize},
    {"DynamicQuantizeLinear", 1, 1, dynamic_quantize},
    {"MatMulInteger", 2, 4, matmul_integer},
    {"QLinearMatMul", 8, 8, quantized_matmul},
    {"com.microsoft.QLinearAdd", 7, 8, quantized_add},
    {"com.microsoft.QLinearMul", 7, 8, quantized_mul},
};

}  // namespace

std::span<const Operator> quantization_operators() {
  return kOperators;
}

}  // namespace qdqbert::engine::reference
