#include "qdqbert/onnx/summary.h"

#include <algorithm>

#include "qdqbert/base/error.h"
#include "qdqbert/onnx/graph_index.h"

namespace qdqbert::onnx {
namespace {

QuantizedTensor describe(const GraphIndex& index, const ::onnx::NodeProto& node) {
  QuantizedTensor pair;
  pair.name = node.name().substr(0, node.name().rfind('/'));
  if (node.input_size() < 2) fail("[onnx] {} has no scale", node.name());
  pair.tensor = input_of(node, 0);
  pair.is_constant = index.is_initializer(pair.tensor);
  const auto scale = index.constant(input_of(node, 1));
  if (scale) {
    pair.scales = to_float32(*scale);
    pair.scale_type = scale->dtype;
  }
  if (node.input_size() > 2)
    if (const auto zero = index.constant(input_of(node, 2))) pair.code_type = zero->dtype;
  if (scale && !scale->shape.empty() && pair.scales.size() > 1)
    pair.axis = integer_attribute(node, "axis", 1);
  return pair;
}

}  // namespace

GraphSummary summarize(const Model& model) {
  GraphSummary summary;
  const auto& proto = model.proto();
  const auto& graph = proto.graph();
  summary.ir_version = proto.ir_version();
  for (const auto& import : proto.opset_import())
    if (import.domain().empty() || import.domain() == "ai.onnx") summary.opset = import.version();
  for (const auto& input : graph.input()) summary.inputs.push_back(input.name());
  for (const auto& output : graph.output()) summary.outputs.push_back(output.name());
  const GraphIndex index(model);
  for (const auto& node : graph.node()) {
    ++summary.nodes;
    ++summary.op_counts[node.op_type()];
    if (node.op_type() == "QuantizeLinear" ||
        (node.op_type() == "DequantizeLinear" && index.is_initializer(input_of(node, 0))))
      summary.quantized.push_back(describe(index, node));
  }
  return summary;
}

std::vector<QuantizedTensor> merged(std::vector<QuantizedTensor> pairs) {
  std::vector<QuantizedTensor> result;
  for (QuantizedTensor& pair : pairs) {
    const bool seen = std::any_of(result.begin(), result.end(), [&](const QuantizedTensor& other) {
      return other.tensor == pair.tensor && other.scales == pair.scales && other.axis == pair.axis;
    });
    if (!seen) result.push_back(std::move(pair));
  }
  return result;
}

}  // namespace qdqbert::onnx
