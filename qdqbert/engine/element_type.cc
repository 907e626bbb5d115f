#include "qdqbert/engine/element_type.h"

#include <array>
#include <string_view>

namespace qdqbert::engine {

namespace {

struct ElementType {
  std::string_view name;
  std::optional<DType> dtype;
};

/// By number.
constexpr std::array kElementTypes = {ElementType{"UNDEFINED", {}},
                                      ElementType{"FLOAT", DType::kF32},
                                      ElementType{"UINT8", DType::kU8},
                                      ElementType{"INT8", DType::kI8},
                                      ElementType{"UINT16", {}},
                                      ElementType{"INT16", DType::kI16},
                                      ElementType{"INT32", DType::kI32},
                                      ElementType{"INT64", DType::kI64},
                                      ElementType{"STRING", {}},
                                      ElementType{"BOOL", DType::kBool},
                                      ElementType{"FLOAT16", DType::kF16},
                                      ElementType{"DOUBLE", DType::kF64},
                                      ElementType{"UINT32", {}},
                                      ElementType{"UINT64", {}},
                                      ElementType{"COMPLEX64", {}},
                                      ElementType{"COMPLEX128", {}},
                                      ElementType{"BFLOAT16", DType::kBF16},
                                      ElementType{"FLOAT8E4M3FN", {}},
                                      ElementType{"FLOAT8E4M3FNUZ", {}},
                                      ElementType{"FLOAT8E5M2", {}},
                                      ElementType{"FLOAT8E5M2FNUZ", {}},
                                      ElementType{"UINT4", {}},
                                      ElementType{"INT4", {}},
                                      ElementType{"FLOAT4E2M1", {}}};

const ElementType* find(int64_t onnx_type) {
  const bool known = onnx_type >= 0 && onnx_type < static_cast<int64_t>(kElementTypes.size());
  return known ? &kElementTypes[static_cast<size_t>(onnx_type)] : nullptr;
}

}  // namespace

std::optional<DType> find_element_type(int64_t onnx_type) {
  const ElementType* type = find(onnx_type);
  return type ? type->dtype : std::nullopt;
}

std::string name_of_element_type(int64_t onnx_type) {
  const ElementType* type = find(onnx_type);
  return type ? std::string(type->name) : std::to_string(onnx_type);
}

}  // namespace qdqbert::engine
