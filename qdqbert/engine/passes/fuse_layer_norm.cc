#include "qdqbert/engine/passes/match.h"
#include "qdqbert/engine/passes/passes.h"

namespace qdqbert::engine {

namespace {

/// ReduceMean over the last axis that keeps it;
/// the axis is an attribute below opset 18 and an input from there.
const Node* last_axis_mean(const Match& match, ValueId id) {
  const Node* mean = match.producer(id, {"ReduceMean"});
  if (!mean || mean->integer("keepdims", 1) != 1) return nullptr;
  std::vector<int64_t> axes = mean->integers("axes", {});
  if (mean->inputs.size() > 1) {
    const Tensor* given = match.constant(mean->inputs[1]);
    if (!given) return nullptr;
    axes = to_int64(given->view());
  }
  // A rank is not known here; 2 is the last axis of [B, S, H], which is all that a BERT normalizes.
  return axes.size() == 1 && (axes[0] == -1 || axes[0] == 2) ? mean : nullptr;
}

/// x where `id` is x - mean(x).
std::optional<ValueId> centred_input(const Match& match, ValueId id) {
  const Node* sub = match.producer(id, {"Sub"});
  if (!sub) return std::nullopt;
  const Node* mean = last_axis_mean(match, sub->inputs[1]);
  if (!mean || mean->inputs[0] != sub->inputs[0]) return std::nullopt;
  return sub->inputs[0];
}

/// x where `id` is the square of x - mean(x).
std::optional<ValueId> centred_square_input(const Match& match, ValueId id) {
  const Node* square = match.producer(id, {"Pow", "Mul"});
  if (!square) return std::nullopt;
  if (square->op == "Pow" ? !match.is_scalar_near(square->inputs[1], 2.0)
                          : square->inputs[0] != square->inputs[1])
    return std::nullopt;
  return centred_input(match, square->inputs[0]);
}

}  // namespace

void fuse_layer_norm(Graph& graph) {
  const Match match(graph);
  const auto is_vector = [&](ValueId id) { return match.is_vector(id); };
  for (Node& node : graph.nodes) {
    if (node.op != "Add") continue;
    const auto shifted = Match::split(node, is_vector);
    if (!shifted) continue;
    const Node* scaled = match.producer(shifted->first, {"Mul"});
    if (!scaled) continue;
    const auto factor = Match::split(*scaled, is_vector);
    if (!factor) continue;
    const Node* normal = match.producer(factor->first, {"Div"});
    if (!normal) continue;
    const Node* deviation = match.producer(normal->inputs[1], {"Sqrt"});
    if (!deviation) continue;
    const Node* guarded = match.producer(deviation->inputs[0], {"Add"});
    if (!guarded) continue;
    const auto guard = Match::split(*guarded, [&](ValueId id) { return match.scalar(id).has_value(); });
    if (!guard) continue;
    const Node* variance = last_axis_mean(match, guard->first);
    if (!variance) continue;
    const auto x = centred_input(match, normal->inputs[0]);
    if (!x || centred_square_input(match, variance->inputs[0]) != x) continue;
    become(node, "LayerNormalization", {*x, factor->second, shifted->second},
           {{"axis", int64_t{-1}}, {"epsilon", *match.scalar(guard->second)}});
  }
  remove_unused(graph);
}

}  // namespace qdqbert::engine
