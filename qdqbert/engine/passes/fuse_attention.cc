#include "qdqbert/engine/passes/match.h"
#include "qdqbert/engine/passes/passes.h"
#include "qdqbert/engine/passes/probe.h"

namespace qdqbert::engine {

namespace {

using Axes = std::vector<int64_t>;

/// [B, S, H] behind an operand of an attention product.
struct Operand {
  ValueId value = kNoValue;
  float scale = 0;    ///< of its quantizer; 0: none
  double factor = 1;  ///< the operand is this times what was quantized
  Axes order;         ///< axes of [B, S, heads, D] in the operand
  int64_t heads = 0, head_size = 0;
};

class Search {
 public:
  Search(const Match& match, const Probes& probes) : match_(match), probes_(probes) {}

  std::optional<Operand> operand(ValueId id) const {
    Operand found;
    found.order = {0, 1, 2, 3};
    double before = 1;  // factors in front of the quantizer
    while (const Node* node =
               match_.producer(id, {"qdqbert.FakeQuantize", "Transpose", "Reshape", "Mul", "Div"})) {
      if (node->op == "qdqbert.FakeQuantize") {
        if (found.scale != 0) return std::nullopt;
        found.scale = node->real("scale", 0);
      } else if (node->op == "Transpose") {
        const Axes order = node->integers("perm", {});
        if (order.size() != 4) return std::nullopt;
        for (int64_t& axis : found.order) axis = order[static_cast<size_t>(axis)];
      } else if (node->op == "Reshape") {
        if (!splits_heads(*node, found)) return std::nullopt;
        found.value = node->inputs[0];
        found.scale = static_cast<float>(found.scale / before);
        found.factor *= before;
        return found;
      } else {
        const auto factor = match_.scalar(node->inputs[1]);
        if (!factor || *factor == 0) return std::nullopt;
        (found.scale != 0 ? before : found.factor) *= node->op == "Mul" ? *factor : 1.0 / *factor;
      }
      id = node->inputs[0];
    }
    return std::nullopt;
  }

  /// Whether the Reshape joins [B, S, heads, D] to [B, S, H].
  bool joins_heads(const Node& reshape) const {
    for (const Probe& run : probes_.runs) {
      const auto& in = run.facts[reshape.inputs[0]].shape;
      const auto& out = run.facts[reshape.outputs[0]].shape;
      if (!in || !out || in->size() != 4 || out->size() != 3) return false;
      if ((*out)[0] != (*in)[0] || (*out)[1] != (*in)[1] || (*in)[1] != run.length) return false;
    }
    return true;
  }

 private:
  bool splits_heads(const Node& reshape, Operand& found) const {
    for (const Probe& run : probes_.runs) {
      const auto& in = run.facts[reshape.inputs[0]].shape;
      const auto& out = run.facts[reshape.outputs[0]].shape;
      if (!in || !out || in->size() != 3 || out->size() != 4) return false;
      if ((*out)[0] != (*in)[0] || (*out)[1] != (*in)[1] || (*in)[1] != run.length) return false;
      found.heads = (*out)[2];
      found.head_size = (*out)[3];
    }
    return true;
  }

  const Match& match_;
  const Probes& probes_;
};

/// The softmax's input taken apart.
struct Scores {
  const Node* product = nullptr;
  double factor = 1;
  bool masked = false;
};

std::optional<Scores> scores_of(const Match& match, const Probes& probes, ValueId id) {
  Scores scores;
  while (const Node* node = match.producer(id, {"Add", "Mul", "Div", "MatMul"})) {
    if (node->op == "MatMul") {
      scores.product = node;
      return scores;
    }
    if (node->op == "Add") {
      const auto parts = Match::split(*node, [&](ValueId other) { return is_mask_bias(probes, other); });
      // A bias that is scaled afterwards still removes what it masks.
      if (!parts || scores.masked) return std::nullopt;
      scores.masked = true;
      id = parts->first;
      continue;
    }
    const auto factor = match.scalar(node->inputs[1]);
    if (!factor || *factor == 0) return std::nullopt;
    scores.factor *= node->op == "Mul" ? *factor : 1.0 / *factor;
    id = node->inputs[0];
  }
  return std::nullopt;
}

/// The only reader of a value that nothing else sees, if it is one of these operators.
Node* only_reader(const Match& match, ValueId id, std::initializer_list<std::string_view> ops) {
  if (!match.is_private(id)) return nullptr;
  Node& reader = match.node(match.readers(id)[0]);
  for (const std::string_view op : ops)
    if (reader.op == op) return &reader;
  return nullptr;
}

void fuse(const Match& match, const Probes& probes, const Node& softmax) {
  const Search search(match, probes);
  const auto scores = scores_of(match, probes, softmax.inputs[0]);
  // Without a mask, padding would take part; that meaning is left to the unfused graph.
  if (!scores || !scores->masked) return;
  const auto q = search.operand(scores->product->inputs[0]), k = search.operand(scores->product->inputs[1]);
  if (!q || !k || q->order != Axes{0, 2, 1, 3} || k->order != Axes{0, 2, 3, 1}) return;

  float p_scale = 0;
  ValueId probabilities = softmax.outputs[0];
  if (const Node* quantize = only_reader(match, probabilities, {"qdqbert.FakeQuantize"})) {
    p_scale = quantize->real("scale", 0);
    probabilities = quantize->outputs[0];
  }
  const Node* product = only_reader(match, probabilities, {"MatMul"});
  if (!product || product->inputs[0] != probabilities) return;
  const auto v = search.operand(product->inputs[1]);
  if (!v || v->order != Axes{0, 2, 1, 3} || v->factor != 1) return;
  if (q->heads != k->heads || q->heads != v->heads || q->head_size != k->head_size ||
      q->head_size != v->head_size)
    return;
  const Node* turned = only_reader(match, product->outputs[0], {"Transpose"});
  if (!turned || turned->integers("perm", {}) != Axes{0, 2, 1, 3}) return;
  Node* joined = only_reader(match, turned->outputs[0], {"Reshape"});
  if (!joined || !search.joins_heads(*joined)) return;
  become(*joined, "qdqbert.Attention", {q->value, k->value, v->value},
         {{"heads", q->heads},
          {"factor", static_cast<float>(scores->factor * q->factor * k->factor)},
          {"q_scale", q->scale},
          {"k_scale", k->scale},
          {"p_scale", p_scale},
          {"v_scale", v->scale}});
}

}  // namespace

void fuse_attention(Graph& graph) {
  const Probes probes = probe(graph);
  const Match match(graph);
  for (Node& node : graph.nodes)
    if (node.op == "Softmax" && (node.integer("axis", -1) == -1 || node.integer("axis", -1) == 3))
      fuse(match, probes, Node(node));
  remove_unused(graph);
}

}  // namespace qdqbert::engine
