// Element types of tensors on disk and in memory, and views of tensors that own nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace qdqbert {

enum class DType : uint8_t { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool };

/// Bytes of one element.
size_t size_of(DType dtype);
/// The safetensors spelling: "F32", "BF16", "BOOL", ...
std::string_view name_of(DType dtype);

/// IEEE binary16 to float32; exact.
float half_to_float(uint16_t bits);
/// float32 to binary16, round to nearest even, overflow to infinity.
uint16_t float_to_half(float value);
/// bfloat16 to float32; exact.
float bfloat16_to_float(uint16_t bits);
/// float32 to bfloat16, round to nearest even; NaN stays NaN.
uint16_t float_to_bfloat16(float value);

using Shape = std::vector<int64_t>;

/// Product of the sizes; 1 for a scalar. Throws InputError on a negative size or overflow.
int64_t element_count(const Shape& shape);
/// "[2, 3]"
std::string to_string(const Shape& shape);

/// A contiguous row-major tensor somewhere else. `data` holds exactly element_count(shape) * size_of(dtype)
/// bytes and need not be aligned.
struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  std::span<const std::byte> data;

  int64_t count() const { return element_count(shape); }
};

/// A contiguous row-major tensor that owns its bytes.
struct OwnedTensor {
  DType dtype = DType::kF32;
  Shape shape;
  std::vector<std::byte> data;

  TensorView view() const { return {dtype, shape, data}; }
};

/// Elements widened (F16, BF16) or converted (integers, BOOL, F64) to float32.
std::vector<float> to_float32(const TensorView& tensor);
/// Elements as int64; throws InputError for floating types.
std::vector<int64_t> to_int64(const TensorView& tensor);

OwnedTensor make_tensor(Shape shape, std::span<const float> values);
OwnedTensor make_tensor(Shape shape, std::span<const int64_t> values);

}  // namespace qdqbert
