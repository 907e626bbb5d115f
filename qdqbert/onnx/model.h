// An ONNX model in memory: the graph as libonnx's messages, and the elements of its larger tensors outside of
// them, because a protobuf message cannot hold more than 2 GiB.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "qdqbert/base/dtype.h"

namespace onnx {
class ModelProto;
class TensorProto;
}  // namespace onnx

namespace qdqbert::onnx {

/// Tensors of at most this many bytes stay inside the graph message.
inline constexpr size_t kInlineBytes = 1024;

/// Readers and writers of messages include <onnx/onnx_pb.h>; everyone else needs no protobuf header.
class Model {
 public:
  Model();
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  ::onnx::ModelProto& proto() { return *proto_; }
  const ::onnx::ModelProto& proto() const { return *proto_; }

  /// Gives the initializer `name` its elements, kept outside of the message.
  /// They live as long as the model, by `owner`.
  void set_elements(const std::string& name, std::span<const std::byte> bytes,
                    std::shared_ptr<const void> owner);
  /// Elements of an initializer that lie outside of the message; an empty span when there are none.
  std::span<const std::byte> outside_elements(const std::string& name) const;
  /// Sum of all elements outside of the message, in bytes.
  size_t outside_bytes() const;

  /// The initializer as a view: its outside elements, or the raw data in the message.
  /// Throws InputError when there is none of that name, or one that is neither raw nor outside,
  /// or of an element type that TensorView lacks.
  TensorView initializer(const std::string& name) const;
  /// nullptr when the graph has no initializer of that name.
  const ::onnx::TensorProto* find_initializer(std::string_view name) const;

 private:
  struct Elements {
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> owner;
  };
  std::unique_ptr<::onnx::ModelProto> proto_;
  std::unordered_map<std::string, Elements> elements_;
};

/// The ONNX element type (TensorProto::DataType) of a DType.
int32_t onnx_type(DType dtype);
/// Throws InputError for an element type that has no DType; `name` stands in the message.
DType dtype_of(int32_t onnx_type, std::string_view name);

}  // namespace qdqbert::onnx
