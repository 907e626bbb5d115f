// From element types at run time to C++ types.
#pragma once

#include "qdqbert/engine/reference/call.h"

namespace qdqbert::engine::reference {

template <class T>
struct Type {
  using Element = T;
};
template <class... T>
struct Types {};

template <class T>
inline constexpr DType kTypeOf = DType::kF32;
template <>
inline constexpr DType kTypeOf<double> = DType::kF64;
template <>
inline constexpr DType kTypeOf<int64_t> = DType::kI64;
template <>
inline constexpr DType kTypeOf<int32_t> = DType::kI32;
template <>
inline constexpr DType kTypeOf<int16_t> = DType::kI16;
template <>
inline constexpr DType kTypeOf<int8_t> = DType::kI8;
template <>
inline constexpr DType kTypeOf<uint8_t> = DType::kU8;
template <>
inline constexpr DType kTypeOf<bool> = DType::kBool;

using FloatTypes = Types<float, double>;
using ArithmeticTypes = Types<float, double, int64_t, int32_t>;
using NumericTypes = Types<float, double, int64_t, int32_t, int16_t, int8_t, uint8_t>;
using CodeTypes = Types<int8_t, uint8_t>;

/// body(Type<T>{}) for the T of `dtype`; refused when the list lacks it.
template <class... T, class Body>
void with_type(const Call& call, DType dtype, Types<T...>, const Body& body) {
  const bool found = ((dtype == kTypeOf<T> && (body(Type<T>{}), true)) || ...);
  if (!found) call.refuse("elements of type {} are not supported", name_of(dtype));
}

/// `body(Type<U>{})` for the unsigned type as wide as the elements: for operators that only move them.
template <class Body>
void with_width(DType dtype, const Body& body) {
  switch (size_of(dtype)) {
    case 1:
      return body(Type<uint8_t>{});
    case 2:
      return body(Type<uint16_t>{});
    case 4:
      return body(Type<uint32_t>{});
    default:
      return body(Type<uint64_t>{});
  }
}

}  // namespace qdqbert::engine::reference
