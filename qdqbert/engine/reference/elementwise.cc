// Operators that treat every element alone.
#include <cmath>
#include <limits>

#include "qdqbert/engine/reference/table.h"

namespace qdqbert::engine::reference {

namespace {

template <class T, class R, class F>
Tensor combine(const Node& node, const Tensor& a, const Tensor& b, DType dtype, const F& f) {
  const Shape shape = broadcast_shape(node, a.shape, b.shape);
  WritableTensor out = new_tensor(node, dtype, shape);
  const T *x = a.as<T>().data(), *y = b.as<T>().data();
  R* to = out.as<R>();
  const auto count = static_cast<size_t>(out.tensor.count());
  if (a.shape == b.shape) {
    for (size_t i = 0; i < count; ++i) to[i] = static_cast<R>(f(x[i], y[i]));
    return out.tensor;
  }
  if (b.count() == 1 && shape == a.shape) {
    const T other = y[0];
    for (size_t i = 0; i < count; ++i) to[i] = static_cast<R>(f(x[i], other));
    return out.tensor;
  }
  // A vector along the last axis is what biases are.
  if (shape == a.shape && !b.shape.empty() && b.count() == b.shape.back() && b.shape.back() == shape.back()) {
    const auto n = static_cast<size_t>(b.count());
    for (size_t i = 0; i < count; i += n)
      for (size_t j = 0; j < n; ++j) to[i + j] = static_cast<R>(f(x[i + j], y[j]));
    return out.tensor;
  }
  BroadcastIndex left(a.shape, shape), right(b.shape, shape);
  for (size_t i = 0; i < count; ++i, left.advance(), right.advance())
    to[i] = static_cast<R>(f(x[*left], y[*right]));
  return out.tensor;
}

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF64;
}

/// Arithmetic with a result of the operands' type.
template <class F>
std::vector<Tensor> arithmetic(const Node& node, Inputs in, const F& f) {
  const Tensor &a = *in[0], &b = *in[1];
  if (a.dtype != b.dtype) fail_node(node, "operands of {} and {}", name_of(a.dtype), name_of(b.dtype));
  if (is_float(a.dtype))
    return {like(node, combine<float, float>(node, as_float(node, a), as_float(node, b), DType::kF32, f),
                 a.dtype)};
  if (a.dtype == DType::kI64) return {combine<int64_t, int64_t>(node, a, b, a.dtype, f)};
  if (a.dtype == DType::kI32) return {combine<int32_t, int32_t>(node, a, b, a.dtype, f)};
  fail_node(node, "is not computed for {}", name_of(a.dtype));
}

/// A comparison with a BOOL result.
template <class F>
std::vector<Tensor> compare(const Node& node, Inputs in, const F& f) {
  const Tensor &a = *in[0], &b = *in[1];
  if (a.dtype != b.dtype) fail_node(node, "operands of {} and {}", name_of(a.dtype), name_of(b.dtype));
  if (is_float(a.dtype))
    return {combine<float, uint8_t>(node, as_float(node, a), as_float(node, b), DType::kBool, f)};
  if (a.dtype == DType::kI64) return {combine<int64_t, uint8_t>(node, a, b, DType::kBool, f)};
  if (a.dtype == DType::kI32) return {combine<int32_t, uint8_t>(node, a, b, DType::kBool, f)};
  if (a.dtype == DType::kBool) return {combine<uint8_t, uint8_t>(node, a, b, DType::kBool, f)};
  fail_node(node, "is not computed for {}", name_of(a.dtype));
}

template <class F>
std::vector<Tensor> unary(const Node& node, Inputs in, const F& f) {
  const Tensor x = as_float(node, *in[0]);
  WritableTensor out = new_tensor(node, DType::kF32, x.shape);
  const std::span<const float> values = x.as<float>();
  for (size_t i = 0; i < values.size(); ++i) out.as<float>()[i] = f(values[i]);
  return {like(node, out.tensor, in[0]->dtype)};
}

/// Computed in double and rounded once, so that the result is the nearest float on every machine.
template <class F>
auto through_double(const F& f) {
  return [f](float x) { return static_cast<float>(f(static_cast<double>(x))); };
}

// Wrapping is defined for unsigned numbers only.
template <class T>
T wrap(T a, T b, char op) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    const U x = static_cast<U>(a), y = static_cast<U>(b);
    return static_cast<T>(op == '+' ? x + y : op == '-' ? x - y : x * y);
  } else {
    return op == '+' ? a + b : op == '-' ? a - b : a * b;
  }
}

std::vector<Tensor> add(const Node& n, Inputs in) {
  return arithmetic(n, in, [](auto a, auto b) { return wrap(a, b, '+'); });
}
std::vector<Tensor> sub(const Node& n, Inputs in) {
  return arithmetic(n, in, [](auto a, auto b) { return wrap(a, b, '-'); });
}
std::vector<Tensor> mul(const Node& n, Inputs in) {
  return arithmetic(n, in, [](auto a, auto b) { return wrap(a, b, '*'); });
}
std::vector<Tensor> div(const Node& n, Inputs in) {
  return arithmetic(n, in, [&](auto a, auto b) {
    if constexpr (std::is_integral_v<decltype(a)>) {
      if (b == 0) fail_node(n, "division by 0");
      return b == -1 ? wrap(decltype(a){0}, a, '-') : static_cast<decltype(a)>(a / b);
    } else {
      return a / b;
    }
  });
}
std::vector<Tensor> power(const Node& n, Inputs in) {
  Tensor exponent = *in[1];
  if (!is_float(exponent.dtype) && is_float(in[0]->dtype))
    exponent = tensor_of(make_tensor(exponent.shape, std::span<const float>(to_float32(exponent.view()))));
  const Tensor a = as_float(n, *in[0]), b = as_float(n, exponent);
  const auto raise = [](float x, float y) {
    if (y == 2.0f) return x * x;
    return static_cast<float>(std::pow(static_cast<double>(x), static_cast<double>(y)));
  };
  return {like(n, combine<float, float>(n, a, b, DType::kF32, raise), in[0]->dtype)};
}
std::vector<Tensor> minimum(const Node& n, Inputs in) {
  Tensor result = *in[0];
  for (size_t i = 1; i < in.size(); ++i) {
    const Tensor* both[] = {&result, in[i]};
    result = arithmetic(n, both, [](auto a, auto b) { return b < a ? b : a; })[0];
  }
  return {result};
}
std::vector<Tensor> maximum(const Node& n, Inputs in) {
  Tensor result = *in[0];
  for (size_t i = 1; i < in.size(); ++i) {
    const Tensor* both[] = {&result, in[i]};
    result = arithmetic(n, both, [](auto a, auto b) { return a < b ? b : a; })[0];
  }
  return {result};
}
std::vector<Tensor> clip(const Node& n, Inputs in) {
  Tensor result = *in[0];
  if (const Tensor* low = optional_input(in, 1)) {
    const Tensor* both[] = {&result, low};
    result = maximum(n, both)[0];
  }
  if (const Tensor* high = optional_input(in, 2)) {
    const Tensor* both[] = {&result, high};
    result = minimum(n, both)[0];
  }
  return {result};
}

std::vector<Tensor> equal(const Node& n, Inputs in) {
  return compare(n, in, [](auto a, auto b) { return a == b; });
}
std::vector<Tensor> less(const Node& n, Inputs in) {
  return compare(n, in, [](auto a, auto b) { return a < b; });
}
std::vector<Tensor> greater(const Node& n, Inputs in) {
  return compare(n, in, [](auto a, auto b) { return a > b; });
}
std::vector<Tensor> less_or_equal(const Node& n, Inputs in) {
  return compare(n, in, [](auto a, auto b) { return a <= b; });
}
std::vector<Tensor> greater_or_equal(const Node& n, Inputs in) {
  return compare(n, in, [](auto a, auto b) { return a >= b; });
}
std::vector<Tensor> logical_and(const Node& n, Inputs in) {
  return compare(n, in, [](auto a, auto b) { return a && b; });
}
std::vector<Tensor> logical_or(const Node& n, Inputs in) {
  return compare(n, in, [](auto a, auto b) { return a || b; });
}
std::vector<Tensor> logical_not(const Node& n, Inputs in) {
  if (in[0]->dtype != DType::kBool) fail_node(n, "is not computed for {}", name_of(in[0]->dtype));
  WritableTensor out = new_tensor(n, DType::kBool, in[0]->shape);
  const std::span<const uint8_t> values = in[0]->as<uint8_t>();
  for (size_t i = 0; i < values.size(); ++i) out.as<uint8_t>()[i] = values[i] ? 0 : 1;
  return {out.tensor};
}

std::vector<Tensor> where(const Node& n, Inputs in) {
  const Tensor &condition = *in[0], &a = *in[1], &b = *in[2];
  if (condition.dtype != DType::kBool || a.dtype != b.dtype)
    fail_node(n, "operands of {}, {} and {}", name_of(condition.dtype), name_of(a.dtype), name_of(b.dtype));
  const Shape shape = broadcast_shape(n, broadcast_shape(n, condition.shape, a.shape), b.shape);
  WritableTensor out = new_tensor(n, a.dtype, shape);
  BroadcastIndex which(condition.shape, shape), left(a.shape, shape), right(b.shape, shape);
  const size_t size = size_of(a.dtype), count = static_cast<size_t>(out.tensor.count());
  for (size_t i = 0; i < count; ++i, which.advance(), left.advance(), right.advance()) {
    const std::byte* from =
        condition.as<uint8_t>()[*which] ? a.bytes.data() + *left * size : b.bytes.data() + *right * size;
    std::copy(from, from + size, out.data + i * size);
  }
  return {out.tensor};
}

std::vector<Tensor> square_root(const Node& n, Inputs in) {
  return unary(n, in, [](float x) { return std::sqrt(x); });
}
std::vector<Tensor> error_function(const Node& n, Inputs in) {
  return unary(n, in, through_double([](double x) { return std::erf(x); }));
}
std::vector<Tensor> exponential(const Node& n, Inputs in) {
  return unary(n, in, through_double([](double x) { return std::exp(x); }));
}
std::vector<Tensor> logarithm(const Node& n, Inputs in) {
  return unary(n, in, through_double([](double x) { return std::log(x); }));
}
std::vector<Tensor> hyperbolic_tangent(const Node& n, Inputs in) {
  return unary(n, in, through_double([](double x) { return std::tanh(x); }));
}
std::vector<Tensor> sigmoid(const Node& n, Inputs in) {
  return unary(n, in, through_double([](double x) { return 1.0 / (1.0 + std::exp(-x)); }));
}
std::vector<Tensor> relu(const Node& n, Inputs in) {
  return unary(n, in, [](float x) { return x < 0 ? 0.0f : x; });
}
std::vector<Tensor> negate(const Node& n, Inputs in) {
  if (in[0]->dtype == DType::kI64 || in[0]->dtype == DType::kI32) {
    WritableTensor zero = new_tensor(n, in[0]->dtype, {});
    std::fill(zero.data, zero.data + size_of(in[0]->dtype), std::byte{0});
    const Tensor* both[] = {&zero.tensor, in[0]};
    return sub(n, both);
  }
  return unary(n, in, [](float x) { return -x; });
}
std::vector<Tensor> absolute(const Node& n, Inputs in) {
  return unary(n, in, [](float x) { return std::fabs(x); });
}
std::vector<Tensor> reciprocal(const Node& n, Inputs in) {
  return unary(n, in, [](float x) { return 1.0f / x; });
}
std::vector<Tensor> gelu(const Node& n, Inputs in) {
  if (n.text("approximate", "none") == "tanh")
    return unary(n, in, through_double([](double x) {
                   return 0.5 * x * (1.0 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
                 }));
  return unary(n, in,
               through_double([](double x) { return 0.5 * x * (1.0 + std::erf(x * 0.7071067811865476)); }));
}
std::vector<Tensor> softplus(const Node& n, Inputs in) {
  return unary(n, in, through_double([](double x) {
                 return std::log1p(std::exp(-std::fabs(x))) + std::fmax(x, 0.0);
               }));
}
std::vector<Tensor> leaky_relu(const Node& n, Inputs in) {
  const float alpha = n.real("alpha", 0.01f);
  return unary(n, in, [alpha](float x) { return x < 0 ? alpha * x : x; });
}

template <class To>
void convert(const std::vector<float>& from, std::byte* to) {
  for (size_t i = 0; i < from.size(); ++i) reinterpret_cast<To*>(to)[i] = static_cast<To>(from[i]);
}

/// TensorProto element types.
DType cast_target(const Node& n) {
  switch (n.integer("to", 0)) {
    case 1:
      return DType::kF32;
    case 2:
      return DType::kU8;
    case 3:
      return DType::kI8;
    case 6:
      return DType::kI32;
    case 7:
      return DType::kI64;
    case 9:
      return DType::kBool;
    case 10:
      return DType::kF16;
    case 11:
      return DType::kF64;
    case 16:
      return DType::kBF16;
    default:
      fail_node(n, "element type {} is not known", n.integer("to", 0));
  }
}

std::vector<Tensor> cast(const Node& n, Inputs in) {
  const Tensor& x = *in[0];
  const DType to = cast_target(n);
  if (to == x.dtype) return {x};
  WritableTensor out = new_tensor(n, to, x.shape);
  if (is_float(to)) {
    const Tensor values = tensor_of(make_tensor(x.shape, std::span<const float>(to_float32(x.view()))));
    return {like(n, values, to)};
  }
  const auto count = static_cast<size_t>(x.count());
  if (to == DType::kBool) {
    const std::vector<float> values = to_float32(x.view());
    for (size_t i = 0; i < count; ++i) out.as<uint8_t>()[i] = values[i] != 0 ? 1 : 0;
    return {out.tensor};
  }
  // Integers go through int64, floats are cut off towards zero; what does not fit saturates.
  const auto store = [&](size_t i, int64_t value) {
    const auto fit = [&](auto sample) {
      using T = decltype(sample);
      return static_cast<T>(value);
    };
    if (to == DType::kI64) out.as<int64_t>()[i] = value;
    if (to == DType::kI32) out.as<int32_t>()[i] = fit(int32_t{});
    if (to == DType::kI8) out.as<int8_t>()[i] = fit(int8_t{});
    if (to == DType::kU8) out.as<uint8_t>()[i] = fit(uint8_t{});
  };
  if (is_float(x.dtype)) {
    const std::vector<float> values = to_float32(x.view());
    constexpr float kLimit = 9.2e18f;
    for (size_t i = 0; i < count; ++i) {
      const float value = std::isnan(values[i]) ? 0.0f : std::fmin(std::fmax(values[i], -kLimit), kLimit);
      store(i, static_cast<int64_t>(value));
    }
  } else {
    const std::vector<int64_t> values = to_int64(x.view());
    for (size_t i = 0; i < count; ++i) store(i, values[i]);
  }
  return {out.tensor};
}

constexpr Operator kOperators[] = {
    {"Add", 2, 2, add},
    {"Sub", 2, 2, sub},
    {"Mul", 2, 2, mul},
    {"Div", 2, 2, div},
    {"Pow", 2, 2, power},
    {"Min", 1, 64, minimum},
    {"Max", 1, 64, maximum},
    {"Clip", 1, 3, clip},
    {"Equal", 2, 2, equal},
    {"Less", 2, 2, less},
    {"Greater", 2, 2, greater},
    {"LessOrEqual", 2, 2, less_or_equal},
    {"GreaterOrEqual", 2, 2, greater_or_equal},
    {"And", 2, 2, logical_and},
    {"Or", 2, 2, logical_or},
    {"Not", 1, 1, logical_not},
    {"Where", 3, 3, where},
    {"Sqrt", 1, 1, square_root},
    {"Erf", 1, 1, error_function},
    {"Exp", 1, 1, exponential},
    {"Log", 1, 1, logarithm},
    {"Tanh", 1, 1, hyperbolic_tangent},
    {"Sigmoid", 1, 1, sigmoid},
    {"Relu", 1, 1, relu},
    {"LeakyRelu", 1, 1, leaky_relu},
    {"Softplus", 1, 1, softplus},
    {"Neg", 1, 1, negate},
    {"Abs", 1, 1, absolute},
    {"Reciprocal", 1, 1, reciprocal},
    {"Gelu", 1, 1, gelu},
    {"com.microsoft.Gelu", 1, 1, gelu},
    {"Cast", 1, 1, cast},
};

}  // namespace

std::span<const Operator> elementwise_operators() {
  return kOperators;
}

}  // namespace qdqbert::engine::reference
