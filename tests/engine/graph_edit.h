// Changes to an exported file, node by node: what other tools write in place of what we do.
#pragma once

#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <onnx/onnx_pb.h>

#include "qdqbert/onnx/model.h"

namespace qdqbert::testing {

class GraphEdit {
 public:
  explicit GraphEdit(onnx::Model& model) : model_(model.proto()), graph_(*model.proto().mutable_graph()) {}

  ::onnx::GraphProto& graph() { return graph_; }
  ::onnx::ModelProto& model() { return model_; }

  /// Constants; their names are given back.
  std::string integers(const std::vector<int64_t>& values, const std::vector<int64_t>& shape) {
    ::onnx::TensorProto& tensor = constant(::onnx::TensorProto::INT64, shape);
    tensor.set_raw_data(values.data(), values.size() * sizeof(int64_t));
    return tensor.name();
  }
  std::string integers(const std::vector<int64_t>& values) {
    return integers(values, {static_cast<int64_t>(values.size())});
  }
  std::string integer(int64_t value) { return integers({value}, {}); }
  std::string number(float value) {
    ::onnx::TensorProto& tensor = constant(::onnx::TensorProto::FLOAT, {});
    tensor.set_raw_data(&value, sizeof value);
    return tensor.name();
  }

  /// A node behind all that were added before, in front of the file's own; the name of its result.
  std::string before(const std::string& op, const std::vector<std::string>& inputs,
                     const std::vector<std::pair<std::string, std::vector<int64_t>>>& attributes = {}) {
    const std::string result = add(op, inputs, attributes);
    for (int n = graph_.node_size() - 1; n > added_; --n) graph_.mutable_node()->SwapElements(n, n - 1);
    ++added_;
    return result;
  }
  /// A node behind all others.
  std::string add(const std::string& op, const std::vector<std::string>& inputs,
                  const std::vector<std::pair<std::string, std::vector<int64_t>>>& attributes = {}) {
    ::onnx::NodeProto& node = *graph_.add_node();
    node.set_op_type(op);
    node.set_name(fresh());
    for (const std::string& input : inputs) node.add_input(input);
    node.add_output(node.name() + "_out");
    for (const auto& [name, values] : attributes) {
      ::onnx::AttributeProto& attribute = *node.add_attribute();
      attribute.set_name(name);
      const bool list = name == "axes" || name == "perm";
      attribute.set_type(list ? ::onnx::AttributeProto::INTS : ::onnx::AttributeProto::INT);
      if (list)
        attribute.mutable_ints()->Add(values.begin(), values.end());
      else
        attribute.set_i(values.at(0));
    }
    return node.output(0);
  }

  /// Nodes of the file itself that read `from` read `to`.
  void redirect(const std::string& from, const std::string& to) {
    for (int n = added_; n < graph_.node_size(); ++n)
      for (std::string& input : *graph_.mutable_node(n)->mutable_input())
        if (input == from) input = to;
  }
  void remove_input(const std::string& name) {
    for (int i = 0; i < graph_.input_size(); ++i)
      if (graph_.input(i).name() == name) return graph_.mutable_input()->DeleteSubrange(i, 1);
  }
  /// An output of floats, its shape open.
  void add_output(const std::string& name) {
    ::onnx::ValueInfoProto& output = *graph_.add_output();
    output.set_name(name);
    output.mutable_type()->mutable_tensor_type()->set_elem_type(::onnx::TensorProto::FLOAT);
  }
  ::onnx::NodeProto& producer(const std::string& value) {
    for (::onnx::NodeProto& node : *graph_.mutable_node())
      for (const std::string& output : node.output())
        if (output == value) return node;
    throw std::runtime_error("nothing produces " + value);
  }
  /// The node that reads the value, after `skip` others.
  ::onnx::NodeProto& reader(const std::string& value, int skip = 0) {
    for (::onnx::NodeProto& node : *graph_.mutable_node())
      for (const std::string& input : node.input())
        if (input == value && skip-- == 0) return node;
    throw std::runtime_error("nothing reads " + value);
  }
  bool is_constant(const std::string& value) {
    for (const ::onnx::TensorProto& tensor : graph_.initializer())
      if (tensor.name() == value) return true;
    return false;
  }
  /// The node that produces the value.
  void remove(const std::string& value) {
    for (int n = 0; n < graph_.node_size(); ++n)
      if (graph_.node(n).output(0) == value) return graph_.mutable_node()->DeleteSubrange(n, 1);
  }
  ::onnx::NodeProto& first(const std::string& op) {
    for (::onnx::NodeProto& node : *graph_.mutable_node())
      if (node.op_type() == op) return node;
    throw std::runtime_error("no " + op);
  }
  /// What is added to the scores of the first attention: the mask as the file makes it.
  std::string mask_bias() { return producer(first("Softmax").input(0)).input(1); }

  /// A scalar, the length of the texts.
  std::string length() {
    return before("Gather", {before("Shape", {"input_ids"}), integer(1)}, {{"axis", {0}}});
  }
  /// 0, 1, ..., S - 1.
  std::string positions() { return before("Range", {integer(0), length(), integer(1)}); }

 private:
  std::string fresh() { return "edit_" + std::to_string(names_++); }
  ::onnx::TensorProto& constant(int type, const std::vector<int64_t>& shape) {
    ::onnx::TensorProto& tensor = *graph_.add_initializer();
    tensor.set_name(fresh());
    tensor.set_data_type(type);
    tensor.mutable_dims()->Add(shape.begin(), shape.end());
    return tensor;
  }

  ::onnx::ModelProto& model_;
  ::onnx::GraphProto& graph_;
  int added_ = 0, names_ = 0;
};

}  // namespace qdqbert::testing
