// Golden tensors as the types of this room.
#pragma once

#include <cstring>
#include <string>

#include "qdqbert/base/error.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/quant/fake_quant_dtypes.h"
#include "qdqbert/quant/float_array.h"

namespace qdqbert::quant {

inline FloatArray read_array(const io::SafetensorsFile& file, const std::string& name) {
  const TensorView& tensor = file.at(name);
  return {tensor.shape, to_float32(tensor)};
}

inline std::vector<double> read_doubles(const TensorView& tensor) {
  std::vector<double> values;
  if (tensor.dtype == DType::kF64) {
    values.resize(tensor.data.size() / sizeof(double));
    std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  } else {
    for (const float value : to_float32(tensor)) values.push_back(value);
  }
  return values;
}

inline DType dtype_of(const std::string& name) {
  if (name == "float64") return DType::kF64;
  if (name == "float32") return DType::kF32;
  if (name == "float16") return DType::kF16;
  if (name == "bfloat16") return DType::kBF16;
  fail("[golden] unknown element type {}", name);
}

/// A tensor stored widened, with the type that the case gives it.
inline TypedValues read_typed(const io::SafetensorsFile& file, const std::string& name,
                              const std::string& dtype) {
  const TensorView& tensor = file.at(name);
  return {dtype_of(dtype), tensor.shape, read_doubles(tensor)};
}

/// Equal values; NaN equals NaN and the sign of zero does not count.
template <class T>
bool same(T a, T b) {
  return a == b || (a != a && b != b);
}

template <class T>
std::string first_difference(const std::vector<T>& ours, const std::vector<T>& reference) {
  if (ours.size() != reference.size())
    return fmt::format("{} values, reference has {}", ours.size(), reference.size());
  for (size_t i = 0; i < ours.size(); ++i)
    if (!same(ours[i], reference[i]))
      return fmt::format("at {}: {}, reference has {}", i, ours[i], reference[i]);
  return "";
}

}  // namespace qdqbert::quant
