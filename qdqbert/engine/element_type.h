// Element types as ONNX numbers them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "qdqbert/base/dtype.h"

namespace qdqbert::engine {

/// TensorProto.DataType to DType; nullopt for numbers that the engine does not have.
std::optional<DType> find_element_type(int64_t onnx_type);

/// "UINT4", or the number itself where ONNX gives it no name.
std::string name_of_element_type(int64_t onnx_type);

}  // namespace qdqbert::engine
