// Gelu of the standard domain and GELUs with a bias of com.microsoft.
#include <cmath>

#include "qdqbert/engine/reference/zip.h"

namespace qdqbert::engine::reference {

namespace {

template <class T>
T gelu(T x) {
  const auto wide = static_cast<double>(x);
  return static_cast<T>(0.5 * wide * (1 + std::erf(wide * 0.70710678118654752440)));
}

template <class T>
T gelu_tanh(T x) {
  const auto wide = static_cast<double>(x);
  return static_cast<T>(0.5 * wide *
                        (1 + std::tanh(0.79788456080286535588 * (wide + 0.044715 * wide * wide * wide))));
}

Tensor apply(const Call& call, const Tensor& x, bool tanh) {
  Tensor out;
  with_type(call, x.dtype, FloatTypes{}, [&]<class T>(Type<T>) {
    out = tanh ? map<T, T>(call, x, x.dtype, gelu_tanh<T>) : map<T, T>(call, x, x.dtype, gelu<T>);
  });
  return out;
}

std::vector<Tensor> standard(const Call& call) {
  return {apply(call, call.input(0), call.node.text("approximate", "none") == "tanh")};
}

std::string check_approximation(const Node& node) {
  const std::string kind = node.text("approximate", "none");
  return kind == "none" || kind == "tanh" ? "" : fmt::format("approximation \"{}\" is not known", kind);
}

template <bool kTanh>
std::vector<Tensor> with_bias(const Call& call) {
  const Tensor& x = call.input(0);
  const Tensor* bias = call.optional(1);
  if (!bias) return {apply(call, x, kTanh)};
  call.require(x, DType::kF32, "the operand");
  call.require(*bias, DType::kF32, "the bias");
  const Tensor sum =
      zip<float, float, float>(call, x, *bias, DType::kF32, [](float a, float b) { return a + b; });
  if (sum.shape != x.shape)
    call.refuse("a bias of {} does not fit {}", to_string(bias->shape), to_string(x.shape));
  return {apply(call, sum, kTanh)};
}

}  // namespace

std::span<const Operator> activation_operators() {
  static const Operator rows[] = {
      {.name = "Gelu", .function = standard, .check = check_approximation},
      {.name = "com.microsoft.Gelu", .function = with_bias<false>},
      {.name = "com.microsoft.BiasGelu", .function = with_bias<false>, .inputs = 2},
      {.name = "com.microsoft.FastGelu", .function = with_bias<true>},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
