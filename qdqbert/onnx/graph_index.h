// Who makes and who reads each edge of a graph.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <onnx/onnx_pb.h>

#include "qdqbert/base/dtype.h"
#include "qdqbert/onnx/model.h"

namespace qdqbert::onnx {

class GraphIndex {
 public:
  explicit GraphIndex(const Model& model) : model_(model) {
    const auto& graph = model.proto().graph();
    for (const auto& node : graph.node()) {
      for (const auto& edge : node.output()) producers_[edge] = &node;
      for (const auto& edge : node.input()) consumers_[edge].push_back(&node);
    }
    for (const auto& tensor : graph.initializer()) initializers_[tensor.name()] = &tensor;
    for (const auto& output : graph.output()) outputs_[output.name()] = true;
  }

  /// nullptr for graph inputs and initializers.
  const ::onnx::NodeProto* producer(const std::string& edge) const {
    const auto found = producers_.find(edge);
    return found == producers_.end() ? nullptr : found->second;
  }
  const std::vector<const ::onnx::NodeProto*>& consumers(const std::string& edge) const {
    static const std::vector<const ::onnx::NodeProto*> none;
    const auto found = consumers_.find(edge);
    return found == consumers_.end() ? none : found->second;
  }
  bool is_initializer(const std::string& edge) const { return initializers_.contains(edge); }
  bool is_output(const std::string& edge) const { return outputs_.contains(edge); }

  /// The tensor that `edge` always is: an initializer, or the value of a Constant node.
  std::optional<TensorView> constant(const std::string& edge) const {
    if (is_initializer(edge)) return model_.initializer(edge);
    const auto* node = producer(edge);
    if (node == nullptr || node->op_type() != "Constant") return std::nullopt;
    for (const auto& attribute : node->attribute()) {
      if (attribute.name() != "value" || !attribute.has_t()) continue;
      const auto& tensor = attribute.t();
      return TensorView{dtype_of(tensor.data_type(), edge),
                        {tensor.dims().begin(), tensor.dims().end()},
                        std::as_bytes(std::span(tensor.raw_data()))};
    }
    return std::nullopt;
  }

 private:
  const Model& model_;
  std::unordered_map<std::string, const ::onnx::NodeProto*> producers_;
  std::unordered_map<std::string, std::vector<const ::onnx::NodeProto*>> consumers_;
  std::unordered_map<std::string, const ::onnx::TensorProto*> initializers_;
  std::unordered_map<std::string, bool> outputs_;
};

/// The edge at a position, "" where the node has fewer.
inline const std::string& input_of(const ::onnx::NodeProto& node, int position) {
  static const std::string none;
  return position < node.input_size() ? node.input(position) : none;
}
/// Of an operator of two terms, the one that `position` is not; empty when there is no such.
inline const std::string& other_input_of(const ::onnx::NodeProto& node, int position) {
  static const std::string none;
  return position == 0 || position == 1 ? input_of(node, 1 - position) : none;
}
inline const std::string& output_of(const ::onnx::NodeProto& node) {
  static const std::string none;
  return node.output_size() > 0 ? node.output(0) : none;
}

/// An integer attribute, or `fallback`.
inline int64_t integer_attribute(const ::onnx::NodeProto& node, std::string_view name, int64_t fallback) {
  for (const auto& attribute : node.attribute())
    if (attribute.name() == name) return attribute.i();
  return fallback;
}

}  // namespace qdqbert::onnx
