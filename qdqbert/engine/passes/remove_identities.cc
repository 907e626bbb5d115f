#include "qdqbert/engine/passes/passes.h"

namespace qdqbert::engine {

namespace {

bool is_identity(const Node& node) {
  if (node.op == "Identity") return true;
  return node.op == "Dropout" && (node.outputs.size() < 2 || node.outputs[1] == kNoValue);
}

}  // namespace

void remove_identities(Graph& graph) {
  std::vector<ValueId> stands_for(graph.values.size());
  for (ValueId id = 0; id < stands_for.size(); ++id) stands_for[id] = id;
  std::vector<bool> is_output(graph.values.size(), false);
  for (const ValueId id : graph.outputs) is_output[id] = true;
  for (Node& node : graph.nodes) {
    for (ValueId& id : node.inputs)
      if (id != kNoValue) id = stands_for[id];
    // The node that gives an output its name stays.
    if (is_identity(node) && !is_output[node.outputs[0]]) stands_for[node.outputs[0]] = node.inputs[0];
  }
  remove_unused(graph);
}

}  // namespace qdqbert::engine
