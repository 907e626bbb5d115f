// Functions of one element: Sqrt Erf Exp Log Tanh Sin Cos Tan Floor Ceil Round Sigmoid Softplus Relu LeakyRelu Neg Abs Sign
// Reciprocal Clip.
// Transcendental functions are taken in double and rounded once.
#include <cmath>
#include <limits>
#include <type_traits>

#include "qdqbert/engine/reference/zip.h"

namespace qdqbert::engine::reference {

namespace {

template <double (*F)(double)>
std::vector<Tensor> in_double(const Call& call) {
  Tensor out;
  with_type(call, call.input(0).dtype, FloatTypes{}, [&]<class T>(Type<T>) {
    out = map<T, T>(call, call.input(0), call.input(0).dtype,
                    [](T x) { return static_cast<T>(F(static_cast<double>(x))); });
  });
  return {out};
}

double square_root(double x) {
  return std::sqrt(x);
}
double error_function(double x) {
  return std::erf(x);
}
double exponential(double x) {
  return std::exp(x);
}
double logarithm(double x) {
  return std::log(x);
}
double hyperbolic_tangent(double x) {
  return std::tanh(x);
}
double sine(double x) {
  return std::sin(x);
}
double cosine(double x) {
  return std::cos(x);
}
double tangent(double x) {
  return std::tan(x);
}
double downwards(double x) {
  return std::floor(x);
}
double upwards(double x) {
  return std::ceil(x);
}
double to_even(double x) {
  return std::nearbyint(x);
}
double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}
double softplus(double x) {
  return std::log1p(std::exp(-std::fabs(x))) + std::fmax(x, 0.0);
}

template <class F>
std::vector<Tensor> numeric(const Call& call) {
  Tensor out;
  with_type(call, call.input(0).dtype, NumericTypes{},
            [&]<class T>(Type<T>) { out = map<T, T>(call, call.input(0), call.input(0).dtype, F{}); });
  return {out};
}

struct Negative {
  template <class T>
  T operator()(T x) const {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(uint64_t{0} - static_cast<uint64_t>(x));
    else
      return -x;
  }
};
struct Absolute {
  template <class T>
  T operator()(T x) const {
    if constexpr (std::is_floating_point_v<T>)
      return std::fabs(x);
    else
      return x < T{0} ? Negative{}(x) : x;
  }
};
struct Sign {
  template <class T>
  T operator()(T x) const {
    return x > T{0} ? T{1} : x < T{0} ? static_cast<T>(-1) : x;
  }
};
struct Rectified {
  template <class T>
  T operator()(T x) const {
    return x < T{0} ? T{0} : x;
  }
};

std::vector<Tensor> reciprocal(const Call& call) {
  Tensor out;
  with_type(call, call.input(0).dtype, FloatTypes{}, [&]<class T>(Type<T>) {
    out = map<T, T>(call, call.input(0), call.input(0).dtype, [](T x) { return T{1} / x; });
  });
  return {out};
}

std::vector<Tensor> leaky_relu(const Call& call) {
  call.require(call.input(0), DType::kF32, "the operand");
  const float alpha = call.node.real("alpha", 0.01f);
  return {map<float, float>(call, call.input(0), DType::kF32,
                            [alpha](float x) { return x < 0 ? alpha * x : x; })};
}

std::vector<Tensor> clip(const Call& call) {
  const Tensor& x = call.input(0);
  Tensor out;
  with_type(call, x.dtype, NumericTypes{}, [&]<class T>(Type<T>) {
    const auto bound = [&](size_t index, T otherwise) {
      const Tensor* limit = call.optional(index);
      if (!limit) return otherwise;
      call.require(*limit, x.dtype, "a bound");
      if (limit->count() != 1)
        call.refuse("a bound has the shape {}, not one element", to_string(limit->shape));
      return limit->template as<T>()[0];
    };
    const bool floating = std::is_floating_point_v<T>;
    using Limits = std::numeric_limits<T>;
    const T low = bound(1, floating ? -Limits::infinity() : Limits::lowest());
    const T high = bound(2, floating ? Limits::infinity() : Limits::max());
    out = map<T, T>(call, x, x.dtype, [low, high](T v) {
      v = v < low ? low : v;
      return high < v ? high : v;
    });
  });
  return {out};
}

}  // namespace

std::span<const Operator> unary_operators() {
  static const Operator rows[] = {
      {.name = "Sqrt", .function = in_double<square_root>},
      {.name = "Erf", .function = in_double<error_function>},
      {.name = "Exp", .function = in_double<exponential>},
      {.name = "Log", .function = in_double<logarithm>},
      {.name = "Tanh", .function = in_double<hyperbolic_tangent>},
      {.name = "Sigmoid", .function = in_double<sigmoid>},
      {.name = "Softplus", .function = in_double<softplus>},
      {.name = "LeakyRelu", .function = leaky_relu},
      {.name = "Relu", .function = numeric<Rectified>},
      {.name = "Neg", .function = numeric<Negative>},
      {.name = "Sin", .function = in_double<sine>},
      {.name = "Cos", .function = in_double<cosine>},
      {.name = "Tan", .function = in_double<tangent>},
      {.name = "Floor", .function = in_double<downwards>},
      {.name = "Ceil", .function = in_double<upwards>},
      {.name = "Round", .function = in_double<to_even>},
      {.name = "Sign", .function = numeric<Sign>},
      {.name = "Abs", .function = numeric<Absolute>},
      {.name = "Reciprocal", .function = reciprocal},
      {.name = "Clip", .function = clip},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
