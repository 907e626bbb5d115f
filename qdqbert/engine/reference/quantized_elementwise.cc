// com.microsoft.QLinearAdd, QLinearMul and QLinearSigmoid: codes in, codes out, in between floats.
#include <cmath>

#include "qdqbert/engine/reference/quantization.h"
#include "qdqbert/engine/reference/types.h"
#include "qdqbert/engine/reference/zip.h"

namespace qdqbert::engine::reference {

namespace {

/// both(a, b) of the dequantized operands is divided by the result's scale.
template <class Both>
std::vector<Tensor> binary(const Call& call, const Both& both) {
  const Tensor &a = call.input(0), &b = call.input(3);
  const Quantizer by_a = quantizer_of_tensor(call, call.input(1), call.optional(2), a.dtype);
  const Quantizer by_b = quantizer_of_tensor(call, call.input(4), call.optional(5), b.dtype);
  const Quantizer by_y = quantizer_of_tensor(call, call.input(6), call.optional(7), a.dtype);
  if (b.dtype != a.dtype || by_a.dtype != a.dtype || by_b.dtype != a.dtype || by_y.dtype != a.dtype)
    call.refuse("operands and zero points are {}, {}, {}, {} and {}", name_of(a.dtype), name_of(b.dtype),
                name_of(by_a.dtype), name_of(by_b.dtype), name_of(by_y.dtype));
  Tensor out;
  with_type(call, a.dtype, CodeTypes{}, [&]<class Code>(Type<Code>) {
    out = zip<Code, Code, Code>(call, a, b, a.dtype, [&](Code x, Code y) {
      const float left = static_cast<float>(x - by_a.zero_point[0]) * by_a.scale[0];
      const float right = static_cast<float>(y - by_b.zero_point[0]) * by_b.scale[0];
      return quantized<Code>(both(left, right) / by_y.scale[0], by_y.zero_point[0]);
    });
  });
  return {out};
}

std::vector<Tensor> add(const Call& call) {
  return binary(call, [](float a, float b) { return a + b; });
}
std::vector<Tensor> multiply(const Call& call) {
  return binary(call, [](float a, float b) { return a * b; });
}

std::vector<Tensor> sigmoid(const Call& call) {
  const Tensor& x = call.input(0);
  const Quantizer by_x = quantizer_of_tensor(call, call.input(1), call.optional(2), x.dtype);
  const Quantizer by_y = quantizer_of_tensor(call, call.input(3), call.optional(4), x.dtype);
  if (by_x.dtype != x.dtype || by_y.dtype != x.dtype)
    call.refuse("operand and zero points are {}, {} and {}", name_of(x.dtype), name_of(by_x.dtype),
                name_of(by_y.dtype));
  Tensor out;
  with_type(call, x.dtype, CodeTypes{}, [&]<class Code>(Type<Code>) {
    out = map<Code, Code>(call, x, x.dtype, [&](Code code) {
      const float value = static_cast<float>(code - by_x.zero_point[0]) * by_x.scale[0];
      const auto result = static_cast<float>(1 / (1 + std::exp(-static_cast<double>(value))));
      return quantized<Code>(result / by_y.scale[0], by_y.zero_point[0]);
    });
  });
  return {out};
}

}  // namespace

std::span<const Operator> quantized_elementwise_operators() {
  static const Operator rows[] = {
      {.name = "com.microsoft.QLinearAdd", .function = add, .inputs = 7},
      {.name = "com.microsoft.QLinearMul", .function = multiply, .inputs = 7},
      {.name = "com.microsoft.QLinearSigmoid", .function = sigmoid, .inputs = 4},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
