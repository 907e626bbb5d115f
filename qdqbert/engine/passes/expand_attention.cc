#include <cmath>
#include <limits>

#include "qdqbert/engine/passes/expand.h"

namespace qdqbert::engine {

namespace {

/// TensorProto.DataType
constexpr int64_t kInt64 = 7, kBool = 9;

struct Attention {
  ValueId q = kNoValue, k = kNoValue, v = kNoValue;  ///< [B, heads, S, D] each
  double scale = 0;
  bool causal = false;
  ValueId kept = kNoValue;   ///< booleans that broadcast to [B, heads, S, T]
  ValueId bias = kNoValue;   ///< added to the scores
  float filter = -10000.0f;  ///< what is added where nothing is kept
};

/// Null for values that were added since, which the probes do not know.
const Fact* fact_of(const Probes& probes, ValueId id, size_t run = 0) {
  return id < probes.runs[run].facts.size() ? &probes.runs[run].facts[id] : nullptr;
}

int64_t rank_of(const Probes& probes, ValueId id) {
  const Fact* fact = fact_of(probes, id);
  return fact && fact->shape ? static_cast<int64_t>(fact->shape->size()) : -1;
}

/// The last size of a value, where both probes agree on one; else 0.
int64_t columns_of(const Probes& probes, ValueId id) {
  const Fact *a = fact_of(probes, id, 0), *b = fact_of(probes, id, 1);
  if (!a || !b || !a->shape || !b->shape || a->shape->empty() || b->shape->empty()) return 0;
  return a->shape->back() == b->shape->back() ? a->shape->back() : 0;
}

/// 0, 1, ... for as many as `of` has along an axis.
ValueId counted(Expansion& e, ValueId of, int64_t axis) {
  const ValueId size =
      e.add("Gather", {e.add("Shape", {of}), e.integers({axis}, true)}, {{"axis", int64_t{0}}});
  return e.add("Range", {e.integers({0}, true), size, e.integers({1}, true)});
}

/// Keys that a mask of com.microsoft keeps: [B] numbers of leading keys, or [B, T] of 0 and 1. False for
/// others.
bool set_key_mask(Expansion& e, const Probes& probes, ValueId mask, Attention& a) {
  if (mask == kNoValue) return true;
  const bool counts = rank_of(probes, mask) == 1 || e.counts_keys(mask);
  if (!counts && rank_of(probes, mask) != 2) return false;
  // [2 B] and [3 B + 2] are counts, too, of other things.
  for (const Probe& run : probes.runs)
    if (counts && rank_of(probes, mask) == 1 && run.facts[mask].shape != Shape{run.batch}) return false;
  const ValueId wide = e.add("Cast", {mask}, {{"to", kInt64}});
  if (counts) {
    const ValueId rows = e.add("Unsqueeze", {wide, e.integers({1, 2, 3})});
    a.kept = e.add("Less", {counted(e, a.k, 2), rows});
  } else {
    a.kept = e.add("Cast", {e.add("Unsqueeze", {wide, e.integers({1, 2})})}, {{"to", kBool}});
  }
  return true;
}

ValueId turned(Expansion& e, ValueId x, std::vector<int64_t> order, ValueId output = kNoValue) {
  return e.add("Transpose", {x}, {{"perm", std::move(order)}}, output);
}

/// [B, S, N] as [B, heads, S, N / heads].
ValueId heads_of(Expansion& e, ValueId x, int64_t heads, int64_t columns) {
  return turned(e, e.add("Reshape", {x, e.integers({0, 0, heads, columns / heads})}), {0, 2, 1, 3});
}

/// [B, heads, S, D].
ValueId attend(Expansion& e, const Attention& a, ValueId output = kNoValue) {
  ValueId kept = a.kept;
  if (a.causal) {
    const ValueId queries = e.add("Unsqueeze", {counted(e, a.q, 2), e.integers({1})});
    const ValueId keys = e.add("Unsqueeze", {counted(e, a.k, 2), e.integers({0})});
    const ValueId seen = e.add("Unsqueeze", {e.add("LessOrEqual", {keys, queries}), e.integers({0, 1})});
    kept = kept == kNoValue ? seen : e.add("And", {kept, seen});
  }
  ValueId scores = e.add("MatMul", {a.q, turned(e, a.k, {0, 1, 3, 2})});
  scores = e.add("Mul", {scores, e.number(static_cast<float>(a.scale))});
  if (kept != kNoValue)
    scores = e.add("Add", {scores, e.add("Where", {kept, e.number(0), e.number(a.filter)})});
  if (a.bias != kNoValue) scores = e.add("Add", {scores, a.bias});
  return e.add("MatMul", {e.add("Softmax", {scores}, {{"axis", int64_t{-1}}}), a.v}, {}, output);
}

/// The node's result as [B, S, columns].
void attend_joined(Expansion& e, const Attention& a, int64_t columns) {
  e.add("Reshape", {turned(e, attend(e, a), {0, 2, 1, 3}), e.integers({0, 0, columns})}, {},
        e.node().outputs[0]);
}

double scale_of(const Node& node, int64_t head_size) {
  const double given = node.real("scale", 0);
  return given != 0 ? given : 1 / std::sqrt(static_cast<double>(head_size));
}

/// Projections and attention: x, weight [H, 3 N], bias [3 N]?, mask?, past?, bias of scores?
bool expand_contributed(Expansion& e, const Probes& probes) {
  const Node& node = e.node();
  const Tensor* weight = e.constant(e.input(1));
  const int64_t heads = node.integer("num_heads", 0);
  if (!weight || weight->shape.size() != 2 || heads < 1 || e.has_output(1) || e.input(4) != kNoValue ||
      e.input(6) != kNoValue || node.integer("do_rotary", 0) != 0)
    return false;
  const int64_t all = weight->shape[1];
  const std::vector<int64_t> sizes = node.integers("qkv_hidden_sizes", {all / 3, all / 3, all / 3});
  if (sizes.size() != 3 || sizes[0] != sizes[1] || sizes[0] + sizes[1] + sizes[2] != all || sizes[0] < 1 ||
      sizes[2] < 1 || sizes[0] % heads != 0 || sizes[2] % heads != 0)
    return false;
  ValueId x = e.add("MatMul", {e.input(0), e.input(1)});
  if (e.input(2) != kNoValue) x = e.add("Add", {x, e.input(2)});
  const std::vector<ValueId> parts = e.split(x, sizes);
  Attention a;
  a.q = heads_of(e, parts[0], heads, sizes[0]);
  a.k = heads_of(e, parts[1], heads, sizes[1]);
  a.v = heads_of(e, parts[2], heads, sizes[2]);
  a.scale = scale_of(node, sizes[0] / heads);
  a.causal = node.integer("unidirectional", 0) != 0;
  a.filter = node.real("mask_filter_value", -10000.0f);
  a.bias = e.input(5);
  if (!set_key_mask(e, probes, e.input(3), a)) return false;
  attend_joined(e, a, sizes[2]);
  return true;
}

/// Attention of projections: q, k, v [B, S, N] each, bias [3 N]?, mask?, bias of scores?
bool expand_multi_head(Expansion& e, const Probes& probes) {
  const Node& node = e.node();
  const int64_t heads = node.integer("num_heads", 0);
  ValueId q = e.input(0), k = e.input(1), v = e.input(2);
  if (heads < 1 || k == kNoValue || v == kNoValue || e.has_output(1) || e.has_output(2) || e.has_output(3))
    return false;
  for (size_t i = 6; i < node.inputs.size(); ++i)
    if (e.input(i) != kNoValue) return false;
  const int64_t n = columns_of(probes, q), values = columns_of(probes, v);
  for (const ValueId id : {q, k, v})
    if (rank_of(probes, id) != 3) return false;
  if (n < 1 || values < 1 || columns_of(probes, k) != n || n % heads != 0 || values % heads != 0)
    return false;
  if (e.input(3) != kNoValue) {
    const std::vector<ValueId> bias = e.split(e.input(3), {n, n, values});
    q = e.add("Add", {q, bias[0]});
    k = e.add("Add", {k, bias[1]});
    v = e.add("Add", {v, bias[2]});
  }
  Attention a;
  a.q = heads_of(e, q, heads, n);
  a.k = heads_of(e, k, heads, n);
  a.v = heads_of(e, v, heads, values);
  a.scale = scale_of(node, n / heads);
  a.causal = node.integer("unidirectional", 0) != 0;
  a.filter = node.real("mask_filter_value", -10000.0f);
  a.bias = e.input(5);
  if (!set_key_mask(e, probes, e.input(4), a)) return false;
  attend_joined(e, a, values);
  return true;
}

/// Of the standard domain: [B, heads, S, D] each, or [B, S, heads D] with the numbers of heads.
bool expand_standard(Expansion& e, const Probes& probes) {
  const Node& node = e.node();
  if (e.input(1) == kNoValue || e.input(2) == kNoValue || node.real("softcap", 0) != 0) return false;
  for (size_t i = 4; i < node.inputs.size(); ++i)
    if (e.input(i) != kNoValue) return false;
  for (size_t i = 1; i < node.outputs.size(); ++i)
    if (e.has_output(i)) return false;
  Attention a;
  a.filter = std::numeric_limits<float>::lowest();
  a.causal = node.integer("is_causal", 0) != 0;
  if (const ValueId mask = e.input(3); mask != kNoValue) {
    const Fact* fact = fact_of(probes, mask);
    if (!fact || !fact->contents || fact->contents->shape.size() < 2) return false;
    (fact->contents->dtype == DType::kBool ? a.kept : a.bias) = mask;
  }
  const int64_t rank = rank_of(probes, e.input(0)), columns = columns_of(probes, e.input(0)),
                values = columns_of(probes, e.input(2));
  if (rank != rank_of(probes, e.input(1)) || rank != rank_of(probes, e.input(2)) || columns < 1 ||
      values < 1 || columns_of(probes, e.input(1)) != columns)
    return false;
  if (rank == 4) {
    const auto heads_in = [&](size_t i) { return (*fact_of(probes, e.input(i))->shape)[1]; };
    if (heads_in(0) != heads_in(1) || heads_in(0) != heads_in(2)) return false;
    a.q = e.input(0);
    a.k = e.input(1);
    a.v = e.input(2);
    a.scale = scale_of(node, columns);
    attend(e, a, node.outputs[0]);
    return true;
  }
  const int64_t heads = node.integer("q_num_heads", 0);
  if (rank != 3 || heads < 1 || node.integer("kv_num_heads", 0) != heads || columns % heads != 0 ||
      values % heads != 0)
    return false;
  a.q = heads_of(e, e.input(0), heads, columns);
  a.k = heads_of(e, e.input(1), heads, columns);
  a.v = heads_of(e, e.input(2), heads, values);
  a.scale = scale_of(node, columns / heads);
  attend_joined(e, a, values);
  return true;
}

}  // namespace

bool expand_attention(Expansion& expansion, const Probes& probes) {
  const std::string& op = expansion.node().op;
  if (op == "com.microsoft.Attention") return expand_contributed(expansion, probes);
  if (op == "com.microsoft.MultiHeadAttention") return expand_multi_head(expansion, probes);
  if (op == "Attention") return expand_standard(expansion, probes);
  return false;
}

}  // namespace qdqbert::engine
