#include "qdqbert/onnx/dump.h"

#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <onnx/onnx_pb.h>

namespace qdqbert::onnx {
namespace {

std::string type_text(int type) {
  return ::onnx::TensorProto::DataType_IsValid(type)
             ? ::onnx::TensorProto::DataType_Name(static_cast<::onnx::TensorProto::DataType>(type))
             : fmt::format("type {}", type);
}

std::string value_text(const ::onnx::ValueInfoProto& value) {
  std::string text = fmt::format("{}: {}[", value.name(), type_text(value.type().tensor_type().elem_type()));
  const char* separator = "";
  for (const auto& dim : value.type().tensor_type().shape().dim()) {
    text += separator + (dim.has_dim_param() ? dim.dim_param() : std::to_string(dim.dim_value()));
    separator = ", ";
  }
  return text + "]";
}

std::string attribute_text(const ::onnx::AttributeProto& attribute) {
  switch (attribute.type()) {
    case ::onnx::AttributeProto::INT:
      return fmt::format("{}={}", attribute.name(), attribute.i());
    case ::onnx::AttributeProto::FLOAT:
      return fmt::format("{}={}", attribute.name(), attribute.f());
    case ::onnx::AttributeProto::STRING:
      return fmt::format("{}=\"{}\"", attribute.name(), attribute.s());
    case ::onnx::AttributeProto::INTS:
      return fmt::format("{}=[{}]", attribute.name(), fmt::join(attribute.ints(), ", "));
    default:
      return attribute.name();
  }
}

}  // namespace

std::string dump(const Model& model) {
  const auto& proto = model.proto();
  const auto& graph = proto.graph();
  std::string text = fmt::format("ir_version {}", proto.ir_version());
  auto out = std::back_inserter(text);
  for (const auto& import : proto.opset_import())
    fmt::format_to(out, ", opset {} {}", import.domain().empty() ? "ai.onnx" : import.domain(),
                   import.version());
  fmt::format_to(out, "\ngraph {}\n", graph.name());
  for (const auto& input : graph.input()) fmt::format_to(out, "  input {}\n", value_text(input));
  for (const auto& output : graph.output()) fmt::format_to(out, "  output {}\n", value_text(output));
  for (const auto& tensor : graph.initializer())
    fmt::format_to(out, "  initializer {}: {}[{}]\n", tensor.name(), type_text(tensor.data_type()),
                   fmt::join(tensor.dims(), ", "));
  for (const auto& node : graph.node()) {
    fmt::format_to(out, "  {} {} ({}) -> ({})", node.op_type(), node.name(), fmt::join(node.input(), ", "),
                   fmt::join(node.output(), ", "));
    for (const auto& attribute : node.attribute()) fmt::format_to(out, "  {}", attribute_text(attribute));
    text += '\n';
  }
  return text;
}

}  // namespace qdqbert::onnx
