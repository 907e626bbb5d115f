#include "qdqbert/engine/passes/fold_constants.h"

#include <algorithm>

#include "qdqbert/engine/reference/operators.h"

namespace qdqbert::engine {

namespace {

constexpr size_t kSmallBytes = 1024;
constexpr size_t kMostGrowth = 4;

/// A weight that is only turned round stays where it is: the packing of linear layers reads it in either
/// order.
bool is_weight_transpose(const Node& node, const Graph& graph) {
  return node.op == "Transpose" && graph.values[node.inputs[0]].constant->bytes.size() > kSmallBytes;
}

bool may_fold(const Node& node, const Graph& graph) {
  if (node.op == "DequantizeLinear" || node.inputs.empty()) return false;
  for (const ValueId id : node.inputs)
    if (id != kNoValue && !graph.is_constant(id)) return false;
  return !is_weight_transpose(node, graph) && reference::unsupported(node).empty();
}

}  // namespace

void fold_constants(Graph& graph) {
  for (const Node& node : graph.nodes) {
    if (!may_fold(node, graph)) continue;
    std::vector<const Tensor*> operands;
    size_t read = 0;
    for (const ValueId id : node.inputs) {
      operands.push_back(id == kNoValue ? nullptr : &*graph.values[id].constant);
      if (operands.back()) read += operands.back()->bytes.size();
    }
    std::vector<Tensor> results = reference::evaluate(node, operands);
    size_t written = 0;
    for (const Tensor& result : results) written += result.bytes.size();
    if (written > kMostGrowth * read + kSmallBytes || results.size() < node.outputs.size()) continue;
    for (size_t i = 0; i < node.outputs.size(); ++i)
      if (node.outputs[i] != kNoValue) graph.values[node.outputs[i]].constant = std::move(results[i]);
  }
  std::vector<Node> nodes;
  for (Node& node : graph.nodes)
    if (!std::all_of(node.outputs.begin(), node.outputs.end(),
                     [&](ValueId id) { return id == kNoValue || graph.is_constant(id); }))
      nodes.push_back(std::move(node));
  graph.nodes = std::move(nodes);
  remove_unused(graph);
}

}  // namespace qdqbert::engine
