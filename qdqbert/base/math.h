// Small integer arithmetic.
#pragma once

#include <concepts>
#include <type_traits>

namespace qdqbert {

/// a / b, rounded up. a >= 0, b > 0.
template <std::integral T>
constexpr T divide_up(T a, std::type_identity_t<T> b) {
  return (a + b - 1) / b;
}

/// The smallest multiple of b that is not below a. a >= 0, b > 0.
template <std::integral T>
constexpr T round_up(T a, std::type_identity_t<T> b) {
  return divide_up(a, b) * b;
}

}  // namespace qdqbert
