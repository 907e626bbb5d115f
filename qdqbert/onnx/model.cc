#include "qdqbert/onnx/model.h"

#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"

namespace qdqbert::onnx {

Model::Model() : proto_(std::make_unique<::onnx::ModelProto>()) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

void Model::set_elements(const std::string& name, std::span<const std::byte> bytes,
                         std::shared_ptr<const void> owner) {
  elements_[name] = {bytes, std::move(owner)};
}

std::span<const std::byte> Model::outside_elements(const std::string& name) const {
  const auto found = elements_.find(name);
  return found == elements_.end() ? std::span<const std::byte>() : found->second.bytes;
}

size_t Model::outside_bytes() const {
  size_t total = 0;
  for (const auto& [name, elements] : elements_) total += elements.bytes.size();
  return total;
}

const ::onnx::TensorProto* Model::find_initializer(std::string_view name) const {
  for (const auto& tensor : proto_->graph().initializer())
    if (tensor.name() == name) return &tensor;
  return nullptr;
}

TensorView Model::initializer(const std::string& name) const {
  const ::onnx::TensorProto* tensor = find_initializer(name);
  if (tensor == nullptr) fail("[onnx] the graph has no initializer {}", name);
  TensorView view{dtype_of(tensor->data_type(), name), {tensor->dims().begin(), tensor->dims().end()}, {}};
  view.data = outside_elements(name);
  if (view.data.empty() && tensor->has_raw_data()) view.data = std::as_bytes(std::span(tensor->raw_data()));
  const size_t expected = static_cast<size_t>(view.count()) * size_of(view.dtype);
  if (view.data.size() != expected)
    fail("[onnx] initializer {}: shape {} needs {} bytes, there are {}", name, to_string(view.shape),
         expected, view.data.size());
  return view;
}

int32_t onnx_type(DType dtype) {
  using enum DType;
  switch (dtype) {
    case kF64:
      return ::onnx::TensorProto::DOUBLE;
    case kF32:
      return ::onnx::TensorProto::FLOAT;
    case kF16:
      return ::onnx::TensorProto::FLOAT16;
    case kBF16:
      return ::onnx::TensorProto::BFLOAT16;
    case kI64:
      return ::onnx::TensorProto::INT64;
    case kI32:
      return ::onnx::TensorProto::INT32;
    case kI16:
      return ::onnx::TensorProto::INT16;
    case kI8:
      return ::onnx::TensorProto::INT8;
    case kU8:
      return ::onnx::TensorProto::UINT8;
    case kBool:
      return ::onnx::TensorProto::BOOL;
  }
  return ::onnx::TensorProto::UNDEFINED;
}

DType dtype_of(int32_t type, std::string_view name) {
  using enum DType;
  for (DType dtype : {kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool})
    if (onnx_type(dtype) == type) return dtype;
  fail("[onnx] tensor {} has element type {}, which is not read", name,
       ::onnx::TensorProto::DataType_IsValid(type)
           ? ::onnx::TensorProto::DataType_Name(static_cast<::onnx::TensorProto::DataType>(type))
           : std::to_string(type));
}

}  // namespace qdqbert::onnx
