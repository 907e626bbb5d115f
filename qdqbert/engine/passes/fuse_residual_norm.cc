#include "qdqbert/engine/passes/match.h"
#include "qdqbert/engine/passes/passes.h"

namespace qdqbert::engine {

namespace {

/// One operand of the residual sum: what is quantized, and how.
struct Operand {
  ValueId value;
  float scale = 0;  ///< 0: taken as it is
};

Operand operand_of(const Match& match, ValueId id) {
  if (const Node* quantize = match.producer(id, {"qdqbert.FakeQuantize"}))
    return {quantize->inputs[0], quantize->real("scale", 0)};
  return {id, 0};
}

}  // namespace

void fuse_residual_norm(Graph& graph) {
  const Match match(graph);
  for (Node& node : graph.nodes) {
    if (node.op != "LayerNormalization" || node.inputs.size() < 3) continue;
    // Of [B, S, H]; the sum of rows has no other rank.
    if (const int64_t axis = node.integer("axis", -1); axis != -1 && axis != 2) continue;
    const Node* sum = match.producer(node.inputs[0], {"Add"});
    if (!sum || !match.is_private(node.inputs[0])) continue;
    for (size_t i = 0; i < 2; ++i) {
      const Operand x = operand_of(match, sum->inputs[i]), residual = operand_of(match, sum->inputs[1 - i]);
      if (!match.producer(x.value, {"qdqbert.QuantizedLinear", "qdqbert.Linear"})) continue;
      become(node, "qdqbert.ResidualNorm", {x.value, residual.value, node.inputs[1], node.inputs[2]},
             {{"epsilon", node.real("epsilon", 1e-5f)},
              {"x_scale", x.scale},
              {"residual_scale", residual.scale}});
      break;
    }
  }
  remove_unused(graph);
}

}  // namespace qdqbert::engine
