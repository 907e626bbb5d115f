#include <algorithm>

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

  /// `sources`: of the rows that a cross-attention reads.
  std::optional<Operand> operand(ValueId id, bool sources) const {
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
        if (!splits_heads(*node, sources, found)) return std::nullopt;
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
  bool splits_heads(const Node& reshape, bool sources, Operand& found) const {
    for (const Probe& run : probes_.runs) {
      const auto& in = run.facts[reshape.inputs[0]].shape;
      const auto& out = run.facts[reshape.outputs[0]].shape;
      if (!in || !out || in->size() != 3 || out->size() != 4) return false;
      if ((*out)[0] != (*in)[0] || (*out)[1] != (*in)[1]) return false;
      if ((*in)[1] != (sources ? run.sources : run.length)) return false;
      found.heads = (*out)[2];
      found.head_size = (*out)[3];
    }
    return true;
  }

  const Match& match_;
  const Probes& probes_;
};

/// A sum over products of rows and rows of a table by the distance of query and key.
struct DistanceTerm {
  ValueId rows = kNoValue;  ///< queries or keys, split into heads
  ValueId table = kNoValue, index = kNoValue;
  bool by_key = false;
};

/// The softmax's input taken apart.
struct Scores {
  const Node* product = nullptr;
  double factor = 1;  ///< of everything
  std::optional<Assumption::Kind> mask;
  ValueId bias = kNoValue;  ///< that masks
  std::vector<DistanceTerm> terms;
  double product_factor = 1;  ///< of the product alone, in front of the terms
};

std::optional<DistanceTerm> distance_term(const Match& match, const Probes& probes, ValueId id) {
  const Node* einsum = match.producer(id, {"Einsum"});
  if (!einsum || einsum->inputs.size() != 2) return std::nullopt;
  std::string equation = einsum->text("equation", "");
  equation.erase(std::remove(equation.begin(), equation.end(), ' '), equation.end());
  if (equation != "bhld,lrd->bhlr" && equation != "bhrd,lrd->bhlr") return std::nullopt;
  ValueId rows = einsum->inputs[1];
  if (const Node* cast = match.producer(rows, {"Cast"}); cast && cast->integer("to", 0) == 1)
    rows = cast->inputs[0];
  const Node* gather = match.producer(rows, {"Gather"});
  if (!gather || gather->integer("axis", 0) != 0) return std::nullopt;
  const Tensor* table = match.constant(gather->inputs[0]);
  if (!table || table->dtype != DType::kF32 || table->shape.size() != 2 || table->shape[0] % 2 != 1)
    return std::nullopt;
  const ValueId index = gather->inputs[1];
  const int64_t positions = (table->shape[0] + 1) / 2;
  if (!in_both(probes, [&](const Probe& run) { return is_distances(run, index, positions); }))
    return std::nullopt;
  return DistanceTerm{einsum->inputs[0], gather->inputs[0], index, equation[2] == 'r'};
}

std::optional<Scores> scores_of(const Match& match, const Probes& probes, ValueId id) {
  Scores scores;
  while (const Node* node = match.producer(id, {"Add", "Mul", "Div", "MatMul"})) {
    if (node->op == "MatMul") {
      scores.product = node;
      return scores;
    }
    if (node->op == "Add") {
      bool taken = false;
      for (size_t i = 0; i < 2 && !taken; ++i) {
        const auto kind = mask_kind(probes, node->inputs[i]);
        const auto term = distance_term(match, probes, node->inputs[i]);
        // A bias that is scaled afterwards still removes what it masks.
        if (kind && !scores.mask) {
          scores.mask = kind;
          scores.bias = node->inputs[i];
        } else if (term && scores.product_factor == 1) {
          scores.terms.push_back(*term);
        } else {
          continue;
        }
        id = node->inputs[1 - i];
        taken = true;
      }
      if (!taken) return std::nullopt;
      continue;
    }
    const auto factor = match.scalar(node->inputs[1]);
    if (!factor || *factor == 0) return std::nullopt;
    (scores.terms.empty() ? scores.factor : scores.product_factor) *=
        node->op == "Mul" ? *factor : 1.0 / *factor;
    id = node->inputs[0];
  }
  return std::nullopt;
}

/// Whether the terms by distance are of the very queries and keys of the product, before their quantizers.
bool terms_fit(const Search& search, const Scores& scores, const Operand& q, const Operand& k) {
  if (scores.terms.empty()) return true;
  if (scores.mask == Assumption::Kind::kSources || q.factor != 1 || k.factor != 1 ||
      scores.product_factor != 1 || scores.terms.size() > 2)
    return false;
  bool by_query = false, by_key = false;
  for (const DistanceTerm& term : scores.terms) {
    const auto rows = search.operand(term.rows, false);
    if (!rows || rows->scale != 0 || rows->factor != 1 || rows->order != Axes{0, 2, 1, 3} ||
        term.table != scores.terms[0].table || rows->value != (term.by_key ? k.value : q.value))
      return false;
    (term.by_key ? by_key : by_query) = true;
  }
  return by_query && (scores.terms.size() == 1 || by_key);
}

/// The only reader of a value that nothing else sees, if it is one of these operators.
Node* only_reader(const Match& match, ValueId id, std::initializer_list<std::string_view> ops) {
  if (!match.is_private(id)) return nullptr;
  Node& reader = match.node(match.readers(id)[0]);
  for (const std::string_view op : ops)
    if (reader.op == op) return &reader;
  return nullptr;
}

/// What is read in place of the weights where they are only asked for NaN, as a row of masked keys alone has it,
/// and 0 put there: tokens of a text see at least themselves.
ValueId guarded(const Match& match, ValueId weights) {
  const std::vector<uint32_t>& readers = match.readers(weights);
  if (readers.size() != 2 || match.is_output(weights)) return weights;
  for (const uint32_t reader : readers) {
    const Node& where = match.node(reader);
    if (where.op != "Where" || where.inputs[2] != weights || match.scalar(where.inputs[1]) != 0.0f) continue;
    const Node* asks = match.producer(where.inputs[0], {"IsNaN"});
    if (asks && asks->inputs[0] == weights && match.is_private(where.inputs[0])) return where.outputs[0];
  }
  return weights;
}

void fuse(Graph& graph, const Match& match, const Probes& probes, const Node& softmax) {
  const Search search(match, probes);
  const auto scores = scores_of(match, probes, softmax.inputs[0]);
  // Without a mask, padding would take part; that meaning is left to the unfused graph.
  if (!scores || !scores->mask) return;
  const bool sources = scores->mask == Assumption::Kind::kSources;
  const auto q = search.operand(scores->product->inputs[0], false),
             k = search.operand(scores->product->inputs[1], sources);
  if (!q || !k || q->order != Axes{0, 2, 1, 3} || k->order != Axes{0, 2, 3, 1}) return;
  if (!terms_fit(search, *scores, *q, *k)) return;

  float p_scale = 0;
  ValueId probabilities = guarded(match, softmax.outputs[0]);
  if (const Node* quantize = only_reader(match, probabilities, {"qdqbert.FakeQuantize"})) {
    p_scale = quantize->real("scale", 0);
    probabilities = quantize->outputs[0];
  }
  const Node* product = only_reader(match, probabilities, {"MatMul"});
  if (!product || product->inputs[0] != probabilities) return;
  const auto v = search.operand(product->inputs[1], sources);
  if (!v || v->order != Axes{0, 2, 1, 3} || v->factor != 1) return;
  if (q->heads != k->heads || q->heads != v->heads || q->head_size != k->head_size ||
      q->head_size != v->head_size)
    return;
  const Node* turned = only_reader(match, product->outputs[0], {"Transpose"});
  if (!turned || turned->integers("perm", {}) != Axes{0, 2, 1, 3}) return;
  Node* joined = only_reader(match, turned->outputs[0], {"Reshape"});
  if (!joined || !search.joins_heads(*joined)) return;
  std::vector<ValueId> inputs = {q->value, k->value, v->value};
  if (!scores->terms.empty()) inputs.push_back(scores->terms[0].table);
  std::map<std::string, Attribute> attributes = {
      {"heads", q->heads},
      {"factor", static_cast<float>(scores->factor * scores->product_factor * q->factor * k->factor)},
      {"q_scale", q->scale},
      {"k_scale", k->scale},
      {"p_scale", p_scale},
      {"v_scale", v->scale}};
  if (scores->mask == Assumption::Kind::kCausal) attributes["causal"] = int64_t{1};
  if (sources) attributes["sources"] = int64_t{1};
  if (scores->terms.size() == 2) attributes["by_key"] = int64_t{1};
  graph.assumptions.push_back({graph.values[scores->bias].name, *scores->mask, 0});
  for (const DistanceTerm& term : scores->terms)
    graph.assumptions.push_back(
        {graph.values[term.index].name, Assumption::Kind::kDistances, match.constant(term.table)->shape[0]});
  become(*joined, "qdqbert.Attention", std::move(inputs), std::move(attributes));
}

/// Whether a Softmax over [B, heads, S, keys] is one over the keys. Before operator set 13 the default axis is
/// another, and what stands behind the axis belongs to it; behind the last nothing stands.
bool is_over_keys(const Node& softmax) {
  const int64_t axis = softmax.integer("axis", softmax.opset < 13 ? 1 : -1);
  return axis == -1 || axis == 3;
}

}  // namespace

void fuse_attention(Graph& graph) {
  const Probes probes = probe(graph);
  const Match match(graph);
  for (Node& node : graph.nodes)
    if (node.op == "Softmax" && is_over_keys(node)) fuse(graph, match, probes, Node(node));
  remove_unused(graph);
}

}  // namespace qdqbert::engine
