#include <map>

#include "qdqbert/engine/passes/sizes.h"

namespace qdqbert::engine {

bool is_number(const Probe& run, ValueId id, float number) {
  const auto& contents = run.facts[id].contents;
  return contents && contents->dtype == DType::kF32 && contents->count() == 1 &&
         contents->as<float>()[0] == number;
}

std::vector<std::pair<ValueId, float>> size_factors(const Graph& graph, const Probes& probes) {
  std::vector<std::pair<ValueId, float>> found;
  std::vector<bool> seen(graph.values.size(), false);
  for (const Node& node : graph.nodes) {
    if ((node.op != "Mul" && node.op != "Div") || node.inputs.size() != 2) continue;
    for (size_t i = 0; i < 2; ++i) {
      const ValueId id = node.inputs[i], data = node.inputs[1 - i];
      const auto& contents = probes.runs[0].facts[id].contents;
      if (seen[id] || graph.is_constant(id) || probes.runs[0].facts[data].contents || !contents ||
          contents->dtype != DType::kF32 || contents->count() != 1)
        continue;
      const float number = contents->as<float>()[0];
      if (!is_number(probes.runs[1], id, number)) continue;
      seen[id] = true;
      found.emplace_back(id, number);
    }
  }
  return found;
}

void resolve_factors(Graph& graph) {
  const Probes probes = probe(graph);
  std::map<ValueId, ValueId> constants;
  for (const auto& [id, number] : size_factors(graph, probes))
    constants[id] = graph.add_constant(graph.values[id].name + "/number",
                                       tensor_of(make_tensor({}, std::span<const float>(&number, 1))));
  for (Node& node : graph.nodes) {
    if (node.op != "Mul" && node.op != "Div") continue;
    for (ValueId& id : node.inputs)
      if (const auto found = constants.find(id); found != constants.end()) id = found->second;
  }
  remove_unused(graph);
}

}  // namespace qdqbert::engine
