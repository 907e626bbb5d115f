#include "qdqbert/onnx/builder.h"

#include <cstring>

#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"

namespace qdqbert::onnx {
namespace {

void set_shape(::onnx::ValueInfoProto& info, const std::string& name, DType dtype,
               const std::vector<Dimension>& shape) {
  info.set_name(name);
  auto* tensor = info.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(onnx_type(dtype));
  auto* dims = tensor->mutable_shape();
  for (const Dimension& size : shape) {
    auto* dim = dims->add_dim();
    if (const auto* symbol = std::get_if<std::string>(&size)) {
      dim->set_dim_param(*symbol);
    } else {
      dim->set_dim_value(std::get<int64_t>(size));
    }
  }
}

void add_attribute(::onnx::NodeProto& node, const Attribute& attribute) {
  auto* proto = node.add_attribute();
  proto->set_name(std::string(attribute.name));
  if (const auto* i = std::get_if<int64_t>(&attribute.value)) {
    proto->set_type(::onnx::AttributeProto::INT);
    proto->set_i(*i);
  } else if (const auto* f = std::get_if<float>(&attribute.value)) {
    proto->set_type(::onnx::AttributeProto::FLOAT);
    proto->set_f(*f);
  } else if (const auto* s = std::get_if<std::string>(&attribute.value)) {
    proto->set_type(::onnx::AttributeProto::STRING);
    proto->set_s(*s);
  } else {
    proto->set_type(::onnx::AttributeProto::INTS);
    for (int64_t value : std::get<std::vector<int64_t>>(attribute.value)) proto->add_ints(value);
  }
}

int ir_version(int opset) {
  return opset <= 14 ? 7 : opset <= 18 ? 8 : 9;
}

}  // namespace

OwnedTensor float_tensor(std::span<const float> values, const Shape& shape, DType dtype) {
  if (dtype == DType::kF32) return make_tensor(shape, values);
  if (dtype != DType::kF16) fail("[onnx] graphs are written in F32 or F16, not {}", name_of(dtype));
  OwnedTensor tensor{dtype, shape, std::vector<std::byte>(values.size() * 2)};
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = float_to_half(values[i]);
    std::memcpy(tensor.data.data() + 2 * i, &half, 2);
  }
  return tensor;
}

GraphBuilder::GraphBuilder(int opset, std::string_view graph_name) : opset_(opset) {
  auto& proto = model_.proto();
  proto.set_ir_version(ir_version(opset));
  proto.set_producer_name("qdqbert");
  auto* import = proto.add_opset_import();
  import->set_domain("");
  import->set_version(opset);
  proto.mutable_graph()->set_name(std::string(graph_name));
}

Value GraphBuilder::input(const std::string& name, DType dtype, const std::vector<Dimension>& shape) {
  set_shape(*model_.proto().mutable_graph()->add_input(), name, dtype, shape);
  return name;
}

void GraphBuilder::output(const std::string& name, const Value& value, DType dtype,
                          const std::vector<Dimension>& shape) {
  auto* graph = model_.proto().mutable_graph();
  for (auto& node : *graph->mutable_node()) {
    for (auto& edge : *node.mutable_input())
      if (edge == value) edge = name;
    for (auto& edge : *node.mutable_output())
      if (edge == value) edge = name;
  }
  set_shape(*graph->add_output(), name, dtype, shape);
}

Value GraphBuilder::initializer(const std::string& name, OwnedTensor tensor) {
  if (!initializers_.emplace(name, true).second) fail<Error>("[onnx] initializer {} exists already", name);
  auto* proto = model_.proto().mutable_graph()->add_initializer();
  proto->set_name(name);
  proto->set_data_type(onnx_type(tensor.dtype));
  for (int64_t size : tensor.shape) proto->add_dims(size);
  if (tensor.data.size() <= kInlineBytes) {
    proto->set_raw_data(tensor.data.data(), tensor.data.size());
  } else {
    const auto owner = std::make_shared<std::vector<std::byte>>(std::move(tensor.data));
    model_.set_elements(name, *owner, owner);
  }
  return name;
}

Value GraphBuilder::small_constant(OwnedTensor tensor) {
  std::string key = fmt::format("{} {} ", name_of(tensor.dtype), to_string(tensor.shape));
  key.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  const auto [entry, is_new] = constants_.try_emplace(std::move(key));
  if (is_new) {
    entry->second = fmt::format("constant_{}", constants_.size() - 1);
    initializer(entry->second, std::move(tensor));
  }
  return entry->second;
}

Value GraphBuilder::floats(const std::vector<float>& values, const Shape& shape, DType dtype) {
  return small_constant(float_tensor(values, shape, dtype));
}

Value GraphBuilder::integers(const std::vector<int64_t>& values, const Shape& shape) {
  return small_constant(make_tensor(shape, std::span<const int64_t>(values)));
}

Value GraphBuilder::zero_points(int64_t count, bool scalar) {
  return small_constant({DType::kI8, scalar ? Shape{} : Shape{count},
                         std::vector<std::byte>(static_cast<size_t>(count), std::byte{0})});
}

Value GraphBuilder::node(std::string_view op, const std::string& scope, const std::vector<Value>& inputs,
                         const std::vector<Attribute>& attributes) {
  return node_with_outputs(op, scope, inputs, 1, attributes).front();
}

std::vector<Value> GraphBuilder::node_with_outputs(std::string_view op, const std::string& scope,
                                                   const std::vector<Value>& inputs, size_t outputs,
                                                   const std::vector<Attribute>& attributes) {
  std::string name = fmt::format("{}/{}", scope, op);
  const int seen = names_[name]++;
  if (seen > 0) name += fmt::format("_{}", seen);
  auto* node = model_.proto().mutable_graph()->add_node();
  node->set_op_type(std::string(op));
  node->set_name(name);
  for (const Value& input : inputs) node->add_input(input);
  std::vector<Value> values;
  for (size_t i = 0; i < outputs; ++i) {
    values.push_back(fmt::format("{}_output_{}", name, i));
    node->add_output(values.back());
  }
  for (const Attribute& attribute : attributes) add_attribute(*node, attribute);
  return values;
}

Model GraphBuilder::take() {
  return std::move(model_);
}

}  // namespace qdqbert::onnx
