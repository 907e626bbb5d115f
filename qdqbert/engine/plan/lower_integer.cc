#include "qdqbert/engine/plan/lowering.h"

namespace qdqbert::engine {

LinearPart Lowering::part_of(const Node& linear) const {
  const Tensor& codes = constant(linear.inputs[1]);
  const auto rows = static_cast<size_t>(codes.shape[0]), columns = static_cast<size_t>(codes.shape[1]);
  const bool transposed = linear.integer("transposed", 0) != 0;
  LinearPart part;
  part.codes.data = codes.as<int8_t>().data();
  part.codes.k = transposed ? columns : rows;
  part.codes.n = transposed ? rows : columns;
  part.codes.k_stride = transposed ? 1 : columns;
  part.codes.n_stride = transposed ? columns : 1;
  part.weight_scale = constant(linear.inputs[2]).as<float>();
  if (linear.inputs[3] != kNoValue) part.bias = constant(linear.inputs[3]).as<float>();
  if (part.codes.k >= size_t{1} << 17) cannot(linear, "{} columns may overflow 32 bits", part.codes.k);
  if (part.weight_scale.size() != 1 && part.weight_scale.size() != part.codes.n)
    cannot(linear, "{} scales for {} outputs", part.weight_scale.size(), part.codes.n);
  if (!part.bias.empty() && part.bias.size() != part.codes.n)
    cannot(linear, "a bias of {} for {} outputs", part.bias.size(), part.codes.n);
  return part;
}

PackedLinear Lowering::pack(const Node& linear) const {
  const LinearPart part = part_of(linear);
  return pack_linear(gemm_, {&part, 1}, linear.real("scale", 0));
}

void Lowering::make_linear(const Node& linear, const Node* activation) {
  const Node& node = activation ? *activation : linear;
  const ValueId out = node.outputs[0];
  const Demand& demand = demands_[out];
  const bool as_codes = demand.count() == 1 && !demand.floats;
  PackedLinear packed = pack(linear);
  const size_t columns = packed.n;
  PlanStep info = what(linear, "linear int8", gemm_.name);
  // Those over the rows of a cross-attention are nobody's token.
  if (home(linear, linear.inputs[0]).rows == RowKind::kTokens)
    info.operations_per_token = 2.0 * static_cast<double>(packed.k) * static_cast<double>(packed.n);
  std::vector<ColumnRange> ranges;
  if (as_codes) {
    const bool flipped = !demand.flipped.empty();
    ranges.push_back({0, columns, flipped ? demand.flipped[0] : demand.direct[0], flipped});
  }
  auto step = std::make_unique<LinearS8Step>(std::move(info), gemm_, std::move(packed), ranges);
  step->input = codes_of(linear, linear.inputs[0], linear.real("scale", 0), true);
  step->rows = home(linear, linear.inputs[0]).rows;
  if (activation) {
    step->activation = activation_of(*activation);
    step->clip = activation->real("clip", std::numeric_limits<float>::infinity());
    step->info.kind += " + " + activation->text("kind", "");
  }
  if (as_codes) {
    Home& made = homes_[out];
    made.rows = step->rows;
    made.columns = columns;
    step->output = new_codes(step->rows, columns);
    (ranges[0].flipped ? made.flipped : made.direct).push_back({step->output, ranges[0].scale});
    step->info.kind += " + quantize";
    add(std::move(step));
  } else {
    step->output = *make_float_home(out, step->rows, columns).floats;
    add(std::move(step));
    add_quantizers(node, out, true);
  }
}

void Lowering::make_residual_norm(const Node& node) {
  const Node& linear = *absorbed_producer(node.inputs[0]);
  const ValueId out = node.outputs[0];
  PackedLinear packed = pack(linear);
  const size_t columns = packed.n;
  check_norm(node, 2, columns, demands_[out].flipped.size());
  PlanStep info = what(linear, "linear int8 + residual + layernorm", gemm_.name);
  info.operations_per_token = 2.0 * static_cast<double>(packed.k) * static_cast<double>(packed.n);
  ResidualNorm norm;
  norm.local_scale = node.real("x_scale", 0);
  norm.residual_scale = node.real("residual_scale", 0);
  norm.gamma = padded(constant(node.inputs[2]), columns);
  norm.beta = padded(constant(node.inputs[3]), columns);
  norm.epsilon = node.real("epsilon", 0);
  norm.output_scales = demands_[out].flipped;
  if (!norm.output_scales.empty()) info.kind += " + quantize";
  const bool local = needs_local_codes(gemm_, norm);
  const size_t local_columns = packed.n_padded;
  auto step = std::make_unique<LinearNormS8Step>(std::move(info), std::move(packed), std::move(norm));
  step->input = codes_of(linear, linear.inputs[0], linear.real("scale", 0), true);
  if (local) step->local = new_codes(RowKind::kTokens, local_columns);
  const float residual_scale = node.real("residual_scale", 0);
  step->residual = residual_scale > 0 ? codes_of(node, node.inputs[1], residual_scale, true)
                                      : floats_of(node, node.inputs[1]);
  if (home(node, node.inputs[1]).columns != columns ||
      home(linear, linear.inputs[0]).rows != RowKind::kTokens)
    cannot(node, "the residual has other sizes");
  Home& made = make_home(out, RowKind::kTokens, columns);
  for (const CodeCopy& copy : made.flipped) step->codes.push_back(copy.at);
  step->floats = made.floats;
  add(std::move(step));
  add_quantizers(node, out, false);
}

void Lowering::make_attention(const Node& node) {
  const auto heads = static_cast<size_t>(node.integer("heads", 0));
  const float scales[3] = {node.real("q_scale", 0), node.real("k_scale", 0), node.real("v_scale", 0)};
  Stored at[3];
  size_t width = 0;
  const auto projections = shared_projections(node);
  if (!projections.empty()) {
    std::vector<LinearPart> parts;
    std::vector<ColumnRange> ranges;
    size_t column = 0;
    for (size_t i = 0; i < 3; ++i) {
      parts.push_back(part_of(*projections[i]));
      ranges.push_back({column, parts[i].codes.n, scales[i], i == 0});
      column += parts[i].codes.n;
      if (parts[i].codes.n != parts[0].codes.n) cannot(node, "query, key and value differ in width");
    }
    width = parts[0].codes.n;
    PackedLinear packed = pack_linear(gemm_, parts, projections[0]->real("scale", 0));
    PlanStep info = what(*projections[0], "linear int8 (query, key, value) + quantize", gemm_.name);
    info.operations_per_token = 2.0 * static_cast<double>(packed.k) * static_cast<double>(packed.n);
    auto step = std::make_unique<LinearS8Step>(std::move(info), gemm_, std::move(packed), ranges);
    step->input = codes_of(node, projections[0]->inputs[0], projections[0]->real("scale", 0), true);
    step->output = new_codes(RowKind::kTokens, column);
    for (size_t i = 0; i < 3; ++i) at[i] = {step->output.buffer, i * width, step->output.ld};
    add(std::move(step));
  } else {
    width = home(node, node.inputs[0]).columns;
    for (size_t i = 0; i < 3; ++i) {
      at[i] = codes_of(node, node.inputs[i], scales[i], i == 0);
      if (home(node, node.inputs[i]).columns != width) cannot(node, "query, key and value differ in width");
    }
  }
  if (heads == 0 || width % heads != 0) cannot(node, "{} heads in {} columns", heads, width);
  const RowKind sources = node.integer("sources", 0) != 0 ? RowKind::kSources : RowKind::kTokens;
  for (size_t i = 1; projections.empty() && i < 3; ++i)
    if (home(node, node.inputs[i]).rows != sources)
      cannot(node, "keys and values are rows of something else");

  const ValueId out = node.outputs[0];
  const Demand& demand = demands_[out];
  const bool as_codes = demand.count() == 1 && demand.flipped.size() == 1;
  AttentionS8 attention;
  attention.heads = heads;
  attention.head_size = width / heads;
  attention.query_scale = scales[0];
  attention.key_scale = scales[1];
  attention.value_scale = scales[2];
  attention.probability_scale = node.real("p_scale", 0);
  attention.score_factor = node.real("factor", 1);
  attention.context_scale = as_codes ? demand.flipped[0] : 0;
  attention.causal = node.integer("causal", 0) != 0;
  attention.distances = distance_terms(node);
  const bool by_distance = !attention.distances.table.empty();
  const size_t cache_layer = plan_->cached_widths.size();
  if (sources == RowKind::kTokens && attention.causal) plan_->cached_widths.push_back(width);
  if (sources == RowKind::kTokens && !attention.causal) all_causal_ = false;
  PlanStep info = what(node,
                       std::string(sources == RowKind::kSources ? "cross-attention int8"
                                   : attention.causal           ? "causal attention int8"
                                                                : "attention int8") +
                           (by_distance ? " + distances" : "") + (as_codes ? " + quantize" : ""),
                       gemm_.name);
  info.operations_per_pair = 4.0 * static_cast<double>(width);
  auto step = std::make_unique<AttentionS8Step>(std::move(info), gemm_, std::move(attention));
  step->sources = sources;
  step->cache_layer = cache_layer;
  step->width = width;
  if (by_distance) {
    step->query_floats = floats_of(node, node.inputs[0]);
    step->key_floats = floats_of(node, node.inputs[1]);
  }
  step->query = used(at[0]);
  step->key = used(at[1]);
  step->value = used(at[2]);
  if (as_codes) {
    Home& made = homes_[out];
    made.columns = width;
    step->output = new_codes(RowKind::kTokens, width);
    made.flipped.push_back({step->output, demand.flipped[0]});
    add(std::move(step));
  } else {
    step->output = *make_float_home(out, RowKind::kTokens, width).floats;
    add(std::move(step));
    add_quantizers(node, out, true);
  }
}

const Tensor& Lowering::distance_table(const Node& attention) {
  const Tensor& table = constant(attention.inputs[3]);
  const auto rows = static_cast<size_t>(table.shape[0]), d = static_cast<size_t>(table.shape[1]);
  const auto heads = static_cast<size_t>(attention.integer("heads", 0));
  const size_t columns = home(attention, attention.inputs[0]).columns;
  if (heads * d != columns)
    cannot(attention, "{} columns of distances for {} heads of {}", d, heads, columns / heads);
  plan_->positions = std::min(plan_->positions, (rows + 1) / 2);
  return table;
}

DistanceTerms Lowering::distance_terms(const Node& attention) {
  DistanceTerms terms;
  if (attention.inputs.size() < 4) return terms;
  const Tensor& table = distance_table(attention);
  const auto rows = static_cast<size_t>(table.shape[0]), d = static_cast<size_t>(table.shape[1]);
  terms.positions = (rows + 1) / 2;
  terms.by_key = attention.integer("by_key", 0) != 0;
  // Few columns would be packed in the other order, which has no panels to begin at.
  const size_t columns = std::max(rows, size_t{16});
  std::vector<float> padded(columns * d, 0.0f);
  const std::span<const float> values = table.as<float>();
  std::copy(values.begin(), values.end(), padded.begin());
  terms.table.resize(packed_f32_size(d, columns));
  pack_f32({padded.data(), d, columns, 1, d}, terms.table.data());
  return terms;
}

}  // namespace qdqbert::engine
