#include <algorithm>

#include "qdqbert/engine/passes/passes.h"

namespace qdqbert::engine {

namespace {

bool begins_with(const std::string& name, std::string_view prefix) {
  return name.starts_with(prefix);
}

}  // namespace

void forget_cache(Graph& graph) {
  const auto is_present = [&](ValueId id) { return begins_with(graph.values[id].name, "present."); };
  const auto is_past = [&](ValueId id) { return begins_with(graph.values[id].name, "past_key_values."); };
  // A graph of nothing but a cache stays as it is.
  if (!std::all_of(graph.outputs.begin(), graph.outputs.end(), is_present))
    graph.outputs.erase(std::remove_if(graph.outputs.begin(), graph.outputs.end(), is_present),
                        graph.outputs.end());
  for (Node& node : graph.nodes) {
    if (node.op != "Concat" || node.inputs.size() != 2 || node.inputs[0] == kNoValue ||
        node.inputs[1] == kNoValue || !is_past(node.inputs[0]))
      continue;
    node.op = "Identity";
    node.inputs = {node.inputs[1]};
    node.attributes.clear();
  }
  const GraphIndex index(graph);
  graph.inputs.erase(std::remove_if(graph.inputs.begin(), graph.inputs.end(),
                                    [&](ValueId id) { return is_past(id) && index.readers[id].empty(); }),
                     graph.inputs.end());
  remove_unused(graph);
}

}  // namespace qdqbert::engine
