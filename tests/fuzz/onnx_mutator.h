// Changes to a model's graph for libFuzzer, in place of changes to the bytes of the file: few of those get
// past the wire format. Include it in a target whose input is an ONNX file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <onnx/onnx_pb.h>

/// Of libFuzzer; absent where seeds are only replayed.
extern "C" __attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace qdqbert::fuzz {

class ModelEditor {
  int below(int count) { return static_cast<int>(random_() % static_cast<unsigned>(count)); }
  /// True in one of `n` cases.
  bool pick(unsigned n) { return random_() % n == 0; }
  template <class Repeated>
  auto& any_of(Repeated& items) {
    return items[below(static_cast<int>(items.size()))];
  }
  const std::string& any_name() { return names_[random_() % names_.size()]; }
  int64_t any_number() {
    constexpr int64_t kNumbers[] = {0,   1,  2,  3,  4,         7,         10,
                                    100, -1, -2, -3, INT64_MAX, INT64_MIN, int64_t{1} << 40};
    return kNumbers[random_() % std::size(kNumbers)];
  }
  std::string any_operator() {
    constexpr const char* kOperators[] = {
        "Identity",  "Dropout", "Cast",   "Reshape", "Transpose",  "Split", "Squeeze",
        "Unsqueeze", "Gather",  "Slice",  "Concat",  "Softmax",    "Add",   "Mul",
        "Sub",       "Div",     "MatMul", "Gemm",    "Tanh",       "Relu",  "Clip",
        "Min",       "Erf",     "Einsum", "Pow",     "ReduceMean", "Shape", "LayerNormalization"};
    return kOperators[random_() % std::size(kOperators)];
  }

 public:
  ModelEditor(::onnx::ModelProto& model, unsigned seed)
      : model_(model), graph_(*model.mutable_graph()), random_(seed) {}

  /// One change. Does nothing when what it picks has no such part.
  void edit() {
    names_.clear();
    for (const auto& input : graph_.input()) names_.push_back(input.name());
    for (const auto& constant : graph_.initializer()) names_.push_back(constant.name());
    for (const auto& node : graph_.node())
      names_.insert(names_.end(), node.output().begin(), node.output().end());
    if (names_.empty() || graph_.node().empty()) return;
    ::onnx::NodeProto& node = any_of(*graph_.mutable_node());
    switch (random_() % 9) {
      case 0:
        return edit_inputs(node);
      case 1:
        return edit_outputs(node);
      case 2:
        return node.set_op_type(pick(3) ? graph_.node(below(graph_.node_size())).op_type() : any_operator());
      case 3:
        return edit_attributes(node);
      case 4:
      case 5:
        return edit_constant();
      case 6:
        return edit_graph_input();
      case 7:
        return graph_.add_output()->set_name(any_name());
      default:
        return edit_nodes(node);
    }
  }

 private:
  void edit_inputs(::onnx::NodeProto& node) {
    if (node.input().empty() || pick(4)) return node.add_input(any_name());
    const int at = below(node.input_size());
    if (pick(3))
      node.mutable_input()->DeleteSubrange(at, 1);
    else if (pick(3))
      node.mutable_input(at)->clear();
    else
      node.set_input(at, any_name());
  }

  void edit_outputs(::onnx::NodeProto& node) {
    const std::string fresh = "fresh" + std::to_string(random_());
    if (node.output().empty() || pick(3)) return node.add_output(fresh);
    node.set_output(below(node.output_size()), pick(2) ? fresh : std::string());
  }

  void edit_attributes(::onnx::NodeProto& node) {
    if (node.attribute().empty()) return;
    const int at = below(node.attribute_size());
    auto& attribute = *node.mutable_attribute(at);
    if (pick(4)) return node.mutable_attribute()->DeleteSubrange(at, 1);
    if (attribute.type() == ::onnx::AttributeProto::INT) attribute.set_i(any_number());
    if (attribute.type() == ::onnx::AttributeProto::FLOAT) attribute.set_f(static_cast<float>(any_number()));
    if (attribute.type() != ::onnx::AttributeProto::INTS) return;
    if (attribute.ints().empty() || pick(3))
      attribute.add_ints(any_number());
    else if (pick(3))
      attribute.mutable_ints()->RemoveLast();
    else
      attribute.set_ints(below(attribute.ints_size()), any_number());
  }

  void edit_constant() {
    if (graph_.initializer().empty()) return;
    ::onnx::TensorProto& tensor = any_of(*graph_.mutable_initializer());
    if (!tensor.has_raw_data() || tensor.dims().empty() || pick(4)) {
      if (!tensor.raw_data().empty()) any_of(*tensor.mutable_raw_data()) = static_cast<char>(random_());
      return;
    }
    if (pick(2)) {  // other axes for the same elements
      if (pick(3)) tensor.add_dims(1);
      std::shuffle(tensor.mutable_dims()->begin(), tensor.mutable_dims()->end(), random_);
      return;
    }
    int64_t count = 1;
    for (const int64_t size : tensor.dims()) count *= size;
    if (count <= 0 || tensor.raw_data().size() % static_cast<size_t>(count) != 0) return;
    const size_t width = tensor.raw_data().size() / static_cast<size_t>(count);
    tensor.set_dims(below(tensor.dims_size()), below(5));
    count = 1;
    for (const int64_t size : tensor.dims()) count *= size;
    if (count < 1 << 16) tensor.mutable_raw_data()->resize(static_cast<size_t>(count) * width, '\1');
  }

  void edit_graph_input() {
    if (graph_.input().empty()) return;
    auto& type = *any_of(*graph_.mutable_input()).mutable_type()->mutable_tensor_type();
    auto& dims = *type.mutable_shape()->mutable_dim();
    if (dims.empty() || pick(4))
      dims.Add()->set_dim_value(below(5));
    else if (pick(3))
      dims.RemoveLast();
    else if (pick(2))
      any_of(dims).set_dim_value(below(5));
    else
      type.set_elem_type(below(17));
  }

  void edit_nodes(::onnx::NodeProto& node) {
    if (pick(3)) {
      if (!model_.opset_import().empty()) model_.mutable_opset_import(0)->set_version(11 + below(13));
    } else if (pick(2)) {
      const auto at = static_cast<int>(std::find_if(graph_.node().begin(), graph_.node().end(),
                                                    [&](const auto& other) { return &other == &node; }) -
                                       graph_.node().begin());
      graph_.mutable_node()->DeleteSubrange(at, 1);
    } else {
      ::onnx::NodeProto copy = node;
      for (auto& output : *copy.mutable_output()) output += "again" + std::to_string(random_());
      *graph_.add_node() = copy;
    }
  }

  ::onnx::ModelProto& model_;
  ::onnx::GraphProto& graph_;
  std::minstd_rand random_;
  std::vector<std::string> names_;
};

}  // namespace qdqbert::fuzz

/// One in four times the bytes, so that the wire format stays a target.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  ::onnx::ModelProto model;
  if (seed % 4 == 0 || !model.ParseFromArray(data, static_cast<int>(size)))
    return LLVMFuzzerMutate(data, size, max_size);
  qdqbert::fuzz::ModelEditor editor(model, seed);
  for (unsigned i = 0; i <= seed / 4 % 3; ++i) editor.edit();
  const std::string bytes = model.SerializeAsString();
  if (bytes.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(bytes.begin(), bytes.end(), data);
  return bytes.size();
}
