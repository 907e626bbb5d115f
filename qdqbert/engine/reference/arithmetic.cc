// Add Sub Mul Div Pow Min Max: two operands (Min and Max: any number), broadcast.
#include <cmath>
#include <type_traits>

#include "qdqbert/engine/reference/zip.h"

namespace qdqbert::engine::reference {

namespace {

// Integers wrap around, as two's complement hardware does; signed overflow in C++ would be undefined.
template <class T>
using Wrapping = typename std::conditional_t<std::is_floating_point_v<T>, std::type_identity<T>,
                                             std::make_unsigned<T>>::type;

struct Plus {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
  }
};
struct Minus {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
  }
};
struct Times {
  template <class T>
  T operator()(T a, T b) const {
    // Small types are promoted to int, whose overflow is undefined: 65535 * 65535.
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    else
      return a * b;
  }
};
struct Quotient {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (std::is_signed_v<T> && std::is_integral_v<T>)
      if (b == -1) return Minus{}(T{0}, a);
    return static_cast<T>(a / b);
  }
};
// A NaN on either side is the result.
struct Smaller {
  template <class T>
  T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};
struct Larger {
  template <class T>
  T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};

template <class F>
Tensor apply(const Call& call, const Tensor& a, const Tensor& b) {
  call.require_same_type(a, b);
  Tensor out;
  with_type(call, a.dtype, NumericTypes{},
            [&]<class T>(Type<T>) { out = zip<T, T, T>(call, a, b, a.dtype, F{}); });
  return out;
}

template <class F>
std::vector<Tensor> binary(const Call& call) {
  return {apply<F>(call, call.input(0), call.input(1))};
}

template <class F>
std::vector<Tensor> variadic(const Call& call) {
  Tensor all = call.input(0);
  for (size_t i = 1; i < call.inputs.size(); ++i) all = apply<F>(call, all, call.input(i));
  return {all};
}

std::vector<Tensor> divide(const Call& call) {
  const Tensor& divisor = call.input(1);
  if (divisor.dtype != DType::kF32 && divisor.dtype != DType::kF64)
    with_type(call, divisor.dtype, NumericTypes{}, [&]<class T>(Type<T>) {
      for (const T value : divisor.as<T>())
        if (value == T{0}) call.refuse("an integer is divided by zero");
    });
  return binary<Quotient>(call);
}

/// The sign of the divisor for integers, of the dividend with fmod, which floats need.
std::vector<Tensor> modulo(const Call& call) {
  const Tensor &a = call.input(0), &b = call.input(1);
  call.require_same_type(a, b);
  const bool fmod = call.node.integer("fmod", 0) != 0;
  Tensor out;
  with_type(call, a.dtype, NumericTypes{}, [&]<class T>(Type<T>) {
    if constexpr (std::is_floating_point_v<T>) {
      if (!fmod) call.refuse("floats need fmod = 1");
      out = zip<T, T, T>(call, a, b, a.dtype, [](T x, T y) { return std::fmod(x, y); });
    } else {
      for (const T value : b.as<T>())
        if (value == T{0}) call.refuse("an integer is divided by zero");
      out = zip<T, T, T>(call, a, b, a.dtype, [fmod](T x, T y) {
        if (y == static_cast<T>(-1)) return T{0};  // the quotient of the lowest value does not fit
        const auto rest = static_cast<T>(x % y);
        return !fmod && rest != T{0} && (rest < T{0}) != (y < T{0}) ? static_cast<T>(rest + y) : rest;
      });
    }
  });
  return {out};
}

double power(double base, double exponent) {
  // Squares are what LayerNormalization is written with; the product is exact before it is rounded.
  return exponent == 2 ? base * base : std::pow(base, exponent);
}

std::vector<Tensor> pow(const Call& call) {
  const Tensor &base = call.input(0), &exponent = call.input(1);
  Tensor out;
  with_type(call, base.dtype, ArithmeticTypes{}, [&]<class T>(Type<T>) {
    with_type(call, exponent.dtype, ArithmeticTypes{}, [&]<class E>(Type<E>) {
      out = zip<T, E, T>(call, base, exponent, base.dtype, [](T x, E e) {
        const double result = power(static_cast<double>(x), static_cast<double>(e));
        if constexpr (std::is_integral_v<T>) {
          // Beyond the type's range (and NaN): the lowest value.
          const double limit = std::ldexp(1.0, 8 * sizeof(T) - 1);
          if (!(result >= -limit && result < limit)) return std::numeric_limits<T>::min();
        }
        return static_cast<T>(result);
      });
    });
  });
  return {out};
}

}  // namespace

std::span<const Operator> arithmetic_operators() {
  static const Operator rows[] = {
      {.name = "Add", .function = binary<Plus>, .inputs = 2},
      {.name = "Sub", .function = binary<Minus>, .inputs = 2},
      {.name = "Mul", .function = binary<Times>, .inputs = 2},
      {.name = "Div", .function = divide, .inputs = 2},
      {.name = "Mod", .function = modulo, .inputs = 2},
      {.name = "Pow", .function = pow, .inputs = 2},
      {.name = "Sum", .function = variadic<Plus>},
      {.name = "Min", .function = variadic<Smaller>},
      {.name = "Max", .function = variadic<Larger>},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
