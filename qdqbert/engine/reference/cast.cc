// Cast: between any two element types.
#include <cmath>
#include <limits>
#include <type_traits>

#include "qdqbert/engine/reference/types.h"
#include "qdqbert/engine/reference/zip.h"

namespace qdqbert::engine::reference {

namespace {

/// Fractions are cut off; what no int64 holds, and NaN, is its lowest value. Narrower integers keep low bits.
int64_t to_integer(double value) {
  return value >= -0x1p63 && value < 0x1p63 ? static_cast<int64_t>(value)
                                            : std::numeric_limits<int64_t>::min();
}

/// An element as it is computed with, and how it is stored.
template <DType kDType>
struct Element;
template <class T>
struct Plain {
  using Stored = T;
  static T load(T stored) { return stored; }
  template <class From>
  static T store(From value) {
    if constexpr (std::is_integral_v<T> && std::is_floating_point_v<From>)
      return static_cast<T>(to_integer(static_cast<double>(value)));
    else
      return static_cast<T>(value);
  }
};
template <>
struct Element<DType::kF64> : Plain<double> {};
template <>
struct Element<DType::kF32> : Plain<float> {};
template <>
struct Element<DType::kI64> : Plain<int64_t> {};
template <>
struct Element<DType::kI32> : Plain<int32_t> {};
template <>
struct Element<DType::kI16> : Plain<int16_t> {};
template <>
struct Element<DType::kI8> : Plain<int8_t> {};
template <>
struct Element<DType::kU8> : Plain<uint8_t> {};
template <>
struct Element<DType::kBool> {
  using Stored = uint8_t;
  static int32_t load(uint8_t stored) { return stored ? 1 : 0; }
  template <class From>
  static uint8_t store(From value) {
    return value != From{0} ? 1 : 0;
  }
};
template <>
struct Element<DType::kF16> {
  using Stored = uint16_t;
  static float load(uint16_t stored) { return half_to_float(stored); }
  template <class From>
  static uint16_t store(From value) {
    return float_to_half(static_cast<float>(value));
  }
};
template <>
struct Element<DType::kBF16> {
  using Stored = uint16_t;
  static float load(uint16_t stored) { return bfloat16_to_float(stored); }
  template <class From>
  static uint16_t store(From value) {
    return float_to_bfloat16(static_cast<float>(value));
  }
};

/// body(Element<dtype>{})
template <class Body>
void with_element(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kF64:
      return body(Element<DType::kF64>{});
    case DType::kF32:
      return body(Element<DType::kF32>{});
    case DType::kF16:
      return body(Element<DType::kF16>{});
    case DType::kBF16:
      return body(Element<DType::kBF16>{});
    case DType::kI64:
      return body(Element<DType::kI64>{});
    case DType::kI32:
      return body(Element<DType::kI32>{});
    case DType::kI16:
      return body(Element<DType::kI16>{});
    case DType::kI8:
      return body(Element<DType::kI8>{});
    case DType::kU8:
      return body(Element<DType::kU8>{});
    case DType::kBool:
      return body(Element<DType::kBool>{});
  }
}

Tensor converted(const Call& call, const Tensor& x, DType dtype) {
  if (x.dtype == dtype) return x;
  Tensor out;
  with_element(x.dtype, [&]<class From>(From) {
    with_element(dtype, [&]<class To>(To) {
      out = map<typename From::Stored, typename To::Stored>(
          call, x, dtype, [](typename From::Stored v) { return To::store(From::load(v)); });
    });
  });
  return out;
}

std::vector<Tensor> cast(const Call& call) {
  return {converted(call, call.input(0), element_type(call, call.node.integer("to", 0)))};
}

std::string check(const Node& node) {
  const int64_t type = node.integer("to", 0);
  return has_element_type(type) ? "" : fmt::format("element type {} of ONNX is not supported", type);
}

}  // namespace

std::span<const Operator> cast_operators() {
  static const Operator rows[] = {{.name = "Cast", .function = cast, .half = Half::kAsIs, .check = check}};
  return rows;
}

}  // namespace qdqbert::engine::reference
