#include "qdqbert/engine/passes/fold_constants.h"

#include <algorithm>

#include "qdqbert/engine/reference/operators.h"

namespace qdqbert::engine {

namespace {

constexpr int64_t kGrowth = 4, kAllowance = 1024;

/// A weight that is only turned round stays where it is: the packing of
/// linear layers reads it in either order.
bool is_weight_transpose(const Graph& graph, const Node& node) {
  return node.op == "Transpose" &&
         static_cast<int64_t>(graph.values[node.inputs[0]].constant->bytes.size()) > kAllowance;
}

bool foldable(const Graph& graph, const Node& node) {
  if (node.op == "DequantizeLinear" || node.op == "com.microsoft.DequantizeLinear") return false;
  const bool constant = std::all_of(node.inputs.begin(), node.inputs.end(),
                                    [&](ValueId id) { return id == kNoValue || graph.is_constant(id); });
  return constant && !node.inputs.empty() && reference::unsupported(node).empty() &&
         !is_weight_transpose(graph, node);
}

/// Whether the node's outputs are constants now.
bool fold(Graph& graph, const Node& node) {
  std::vector<const Tensor*> inputs;
  int64_t bytes = 0;
  for (const ValueId id : node.inputs) {
    inputs.push_back(id == kNoValue ? nullptr : &*graph.values[id].constant);
    if (inputs.back()) bytes += static_cast<int64_t>(inputs.back()->bytes.size());
  }
  try {
    std::vector<Tensor> results =
        reference::evaluate(node, inputs, {.largest_tensor = kGrowth * bytes + kAllowance});
    for (size_t i = 0; i < results.size(); ++i)
      if (node.outputs[i] != kNoValue) graph.values[node.outputs[i]].constant = std::move(results[i]);
    return true;
  } catch (const reference::TooLarge&) {
    return false;
  }
}

}  // namespace

void fold_constants(Graph& graph) {
  std::erase_if(graph.nodes, [&](const Node& node) { return foldable(graph, node) && fold(graph, node); });
  remove_unused(graph);
}

}  // namespace qdqbert::engine
