#include "qdqbert/engine/passes/passes.h"

namespace qdqbert::engine {

void split_gemms(Graph& graph) {
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    const bool plain = node.op == "Gemm" && node.integer("transA", 0) == 0 && node.real("alpha", 1) == 1 &&
                       (node.inputs.size() < 3 || node.inputs[2] == kNoValue || node.real("beta", 1) == 1);
    if (!plain) {
      nodes.push_back(std::move(node));
      continue;
    }
    ValueId weight = node.inputs[1];
    const auto add = [&](std::string op, std::vector<ValueId> inputs, ValueId output) {
      nodes.push_back({node.name, std::move(op), node.opset, std::move(inputs), {output}, {}});
    };
    if (node.integer("transB", 0) != 0) {
      const ValueId turned = graph.add_value(graph.values[weight].name + "/transposed");
      add("Transpose", {weight}, turned);
      nodes.back().attributes["perm"] = std::vector<int64_t>{1, 0};
      weight = turned;
    }
    const bool has_bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
    const ValueId product = has_bias ? graph.add_value(node.name + "/product") : node.outputs[0];
    add("MatMul", {node.inputs[0], weight}, product);
    if (has_bias) add("Add", {product, node.inputs[2]}, node.outputs[0]);
  }
  graph.nodes = std::move(nodes);
  remove_unused(graph);
}

}  // namespace qdqbert::engine
