#include "qdqbert/engine/passes/passes.h"
#include "qdqbert/engine/passes/probe.h"

namespace qdqbert::engine {

namespace {

/// The target as a constant that means the same for all B and S: 0 copies an axis, -1 stands for the rest.
std::optional<std::vector<int64_t>> constant_target(const Probes& probes, const Node& reshape) {
  std::vector<std::vector<int64_t>> in, out;
  for (const Probe& run : probes.runs) {
    const auto &from = run.facts[reshape.inputs[0]].shape, &to = run.facts[reshape.outputs[0]].shape;
    if (!from || !to) return std::nullopt;
    in.push_back(*from);
    out.push_back(*to);
  }
  if (out[0].size() != out[1].size()) return std::nullopt;
  std::vector<int64_t> target;
  bool open = false;
  for (size_t i = 0; i < out[0].size(); ++i) {
    const bool copies =
        i < in[0].size() && i < in[1].size() && in[0][i] == out[0][i] && in[1][i] == out[1][i];
    if (out[0][i] == out[1][i]) {
      target.push_back(out[0][i]);
    } else if (copies) {
      target.push_back(0);
    } else {
      if (open) return std::nullopt;
      open = true;
      target.push_back(-1);
    }
  }
  return target;
}

}  // namespace

void resolve_reshapes(Graph& graph) {
  const Probes probes = probe(graph);
  for (Node& node : graph.nodes) {
    if (node.op != "Reshape" || graph.is_constant(node.inputs[1])) continue;
    const auto target = constant_target(probes, node);
    if (!target) continue;
    node.inputs[1] = graph.add_constant(
        node.name + "/target",
        tensor_of(make_tensor({static_cast<int64_t>(target->size())}, std::span<const int64_t>(*target))));
    node.attributes.erase("allowzero");
  }
  remove_unused(graph);
}

}  // namespace qdqbert::engine
