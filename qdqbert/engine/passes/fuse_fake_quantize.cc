#include <algorithm>

#include "qdqbert/engine/passes/match.h"
#include "qdqbert/engine/passes/passes.h"

namespace qdqbert::engine {

namespace {

/// Left out, a zero point is 0: of signed codes behind a QuantizeLinear that makes these, of unsigned ones in it.
bool is_zero_s8(const Match& match, const Node& node) {
  if (node.inputs.size() < 3 || node.inputs[2] == kNoValue) return node.op == "DequantizeLinear";
  const Tensor* zero = match.constant(node.inputs[2]);
  if (!zero || zero->dtype != DType::kI8) return false;
  return std::all_of(zero->bytes.begin(), zero->bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

void fuse_fake_quantize(Graph& graph) {
  const Match match(graph);
  for (Node& node : graph.nodes) {
    if (node.op != "DequantizeLinear" || node.outputs.empty()) continue;
    const Node* quantize = match.producer(node.inputs[0], {"QuantizeLinear"});
    if (!quantize || match.is_output(node.inputs[0])) continue;
    const auto q_scale = match.scalar(quantize->inputs[1]), dq_scale = match.scalar(node.inputs[1]);
    if (!q_scale || !dq_scale || *q_scale != *dq_scale) continue;
    if (!is_zero_s8(match, *quantize) || !is_zero_s8(match, node)) continue;
    become(node, "qdqbert.FakeQuantize", {quantize->inputs[0]}, {{"scale", *q_scale}});
  }
  remove_unused(graph);
}

}  // namespace qdqbert::engine
