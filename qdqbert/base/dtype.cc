#include "qdqbert/base/dtype.h"

#include <bit>
#include <cstring>
#include <limits>

#include "qdqbert/base/error.h"

namespace qdqbert {

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
    case DType::kI16:
      return 2;
    case DType::kI8:
    case DType::kU8:
    case DType::kBool:
      return 1;
  }
  fail("[dtype] unknown element type {}", static_cast<int>(dtype));
}

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return "F64";
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kI64:
      return "I64";
    case DType::kI32:
      return "I32";
    case DType::kI16:
      return "I16";
    case DType::kI8:
      return "I8";
    case DType::kU8:
      return "U8";
    case DType::kBool:
      return "BOOL";
  }
  return "?";
}

float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: the value is mantissa * 2^-24, exact in float32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t float_to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    // Adding 0.5 aligns the half subnormal grid (2^-24) with the float32 grid
    // at 0.5, so the FPU rounds to even.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0x0fffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

float bfloat16_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t float_to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (int64_t size : shape) {
    if (size < 0) fail("[tensor] a shape has the negative size {}", size);
    if (__builtin_mul_overflow(count, size, &count))
      fail("[tensor] the shape {} has more than 2^63 elements", to_string(shape));
  }
  return count;
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

namespace {

template <class T, class To, class Convert>
std::vector<To> convert(const TensorView& tensor, Convert&& one) {
  const size_t count = static_cast<size_t>(tensor.count());
  if (tensor.data.size() != count * sizeof(T))
    fail("[tensor] shape {} of {} needs {} bytes, there are {}", to_string(tensor.shape),
         name_of(tensor.dtype), count * sizeof(T), tensor.data.size());
  std::vector<To> out(count);
  for (size_t i = 0; i < count; ++i) {
    T element;
    std::memcpy(&element, tensor.data.data() + i * sizeof(T), sizeof(T));
    out[i] = one(element);
  }
  return out;
}

}  // namespace

std::vector<float> to_float32(const TensorView& tensor) {
  const auto cast = [](auto v) { return static_cast<float>(v); };
  switch (tensor.dtype) {
    case DType::kF64:
      return convert<double, float>(tensor, cast);
    case DType::kF32:
      return convert<float, float>(tensor, cast);
    case DType::kF16:
      return convert<uint16_t, float>(tensor, half_to_float);
    case DType::kBF16:
      return convert<uint16_t, float>(tensor, bfloat16_to_float);
    case DType::kI64:
      return convert<int64_t, float>(tensor, cast);
    case DType::kI32:
      return convert<int32_t, float>(tensor, cast);
    case DType::kI16:
      return convert<int16_t, float>(tensor, cast);
    case DType::kI8:
      return convert<int8_t, float>(tensor, cast);
    case DType::kU8:
    case DType::kBool:
      return convert<uint8_t, float>(tensor, cast);
  }
  fail("[tensor] unknown element type {}", static_cast<int>(tensor.dtype));
}

std::vector<int64_t> to_int64(const TensorView& tensor) {
  const auto cast = [](auto v) { return static_cast<int64_t>(v); };
  switch (tensor.dtype) {
    case DType::kI64:
      return convert<int64_t, int64_t>(tensor, cast);
    case DType::kI32:
      return convert<int32_t, int64_t>(tensor, cast);
    case DType::kI16:
      return convert<int16_t, int64_t>(tensor, cast);
    case DType::kI8:
      return convert<int8_t, int64_t>(tensor, cast);
    case DType::kU8:
    case DType::kBool:
      return convert<uint8_t, int64_t>(tensor, cast);
    default:
      fail("[tensor] integers expected, the tensor holds {}", name_of(tensor.dtype));
  }
}

namespace {

template <class T>
OwnedTensor own(DType dtype, Shape shape, std::span<const T> values) {
  if (element_count(shape) != static_cast<int64_t>(values.size()))
    fail("[tensor] shape {} needs {} values, there are {}", to_string(shape), element_count(shape),
         values.size());
  const auto bytes = std::as_bytes(values);
  return {dtype, std::move(shape), {bytes.begin(), bytes.end()}};
}

}  // namespace

OwnedTensor make_tensor(Shape shape, std::span<const float> values) {
  return own(DType::kF32, std::move(shape), values);
}
OwnedTensor make_tensor(Shape shape, std::span<const int64_t> values) {
  return own(DType::kI64, std::move(shape), values);
}

}  // namespace qdqbert
