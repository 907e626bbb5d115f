#include <algorithm>

#include "qdqbert/engine/passes/match.h"
#include "qdqbert/engine/passes/probe.h"
#include "qdqbert/engine/passes/sizes.h"

namespace qdqbert::engine {

namespace {

const Shape* shape_of(const Probe& run, ValueId id) {
  const Fact& fact = run.facts[id];
  return fact.shape && !fact.contents ? &*fact.shape : nullptr;
}

/// Whether both are the same rows, one for each token: [B, S, H] or [B S, H].
bool same_rows(const Probe& run, const Shape& in, const Shape& out) {
  const auto is_rows = [&](const Shape& shape) {
    if (shape.size() == 2) return shape[0] == run.batch * run.length;
    return shape.size() == 3 && shape[0] == run.batch && shape[1] == run.length;
  };
  return in.size() != out.size() && is_rows(in) && is_rows(out) && in.back() == out.back();
}

bool has_no_effect(const Probes& probes, const Node& reshape) {
  return in_both(probes, [&](const Probe& run) {
    const Shape *in = shape_of(run, reshape.inputs[0]), *out = shape_of(run, reshape.outputs[0]);
    return in && out && (*in == *out || same_rows(run, *in, *out));
  });
}

/// The input of a Reshape, Transpose and Reshape that turn the last two of four axes with the first two joined.
ValueId turned_by_three(const Match& match, const Probes& probes, const Node& last) {
  const Node* turn = match.producer(last.inputs[0], {"Transpose"});
  if (!turn || turn->integers("perm", {}) != std::vector<int64_t>{0, 2, 1}) return kNoValue;
  const Node* first = match.producer(turn->inputs[0], {"Reshape"});
  if (!first) return kNoValue;
  const bool turned = in_both(probes, [&](const Probe& run) {
    const Shape *in = shape_of(run, first->inputs[0]), *joined = shape_of(run, first->outputs[0]),
                *out = shape_of(run, last.outputs[0]);
    return in && joined && out && in->size() == 4 &&
           *joined == Shape{(*in)[0] * (*in)[1], (*in)[2], (*in)[3]} &&
           *out == Shape{(*in)[0], (*in)[1], (*in)[3], (*in)[2]};
  });
  return turned ? first->inputs[0] : kNoValue;
}

}  // namespace

void drop_reshapes(Graph& graph) {
  const Probes probes = probe(graph);
  std::vector<ValueId> stands_for(graph.values.size());
  for (ValueId id = 0; id < stands_for.size(); ++id) stands_for[id] = id;
  {
    const Match match(graph);
    for (Node& node : graph.nodes) {
      if (node.op != "Reshape") continue;
      if (const ValueId from = turned_by_three(match, probes, node); from != kNoValue)
        become(node, "Transpose", {from}, {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
      else if (!match.is_output(node.outputs[0]) && has_no_effect(probes, node))
        stands_for[node.outputs[0]] = node.inputs[0];
    }
  }
  for (Node& node : graph.nodes)
    for (ValueId& id : node.inputs)
      while (id != kNoValue && stands_for[id] != id) id = stands_for[id];
  remove_unused(graph);
}

}  // namespace qdqbert::engine
