#include "qdqbert/engine/plan/lowering.h"

namespace qdqbert::engine {

bool Lowering::is_over_columns(const Node& norm) const {
  const auto& shape = probes_.runs[0].facts[norm.inputs[0]].shape;
  const int64_t axis = norm.integer("axis", -1);
  return axis == -1 || (shape && axis + 1 == static_cast<int64_t>(shape->size()));
}

void Lowering::make_norm(const Node& node) {
  if (!is_over_columns(node)) cannot(node, "it normalizes over more than the columns of a token");
  const ValueId out = node.outputs[0];
  const Node* embeddings = absorbed_producer(node.inputs[0]);
  const size_t columns = embeddings ? static_cast<size_t>(constant(embeddings->inputs[2]).shape[1])
                                    : home(node, node.inputs[0]).columns;
  check_norm(node, 1, columns, demands_[out].flipped.size());
  const auto fill = [&](auto& step) {
    step.gamma = padded(constant(node.inputs[1]), columns);
    step.beta = padded(constant(node.inputs[2]), columns);
    step.epsilon = node.real("epsilon", 1e-5f);
    Home& made = make_home(out, step_rows_, columns);
    step.codes = made.flipped;
    step.floats = made.floats;
  };
  if (embeddings) {
    auto step = std::make_unique<EmbeddingsStep>(what(*embeddings, "embeddings + layernorm"));
    set_tables(*embeddings, *step, columns);
    step_rows_ = RowKind::kTokens;
    fill(*step);
    add(std::move(step));
  } else {
    auto step = std::make_unique<NormStep>(what(node, "layernorm"));
    step->input = floats_of(node, node.inputs[0]);
    step->rows = step_rows_ = home(node, node.inputs[0]).rows;
    step->columns = columns;
    fill(*step);
    add(std::move(step));
  }
  add_quantizers(node, out, false);
}

void Lowering::make_embeddings(const Node& node) {
  const auto columns = static_cast<size_t>(constant(node.inputs[2]).shape[1]);
  auto step = std::make_unique<EmbeddingsStep>(what(node, "embeddings"));
  set_tables(node, *step, columns);
  step->floats = make_float_home(node.outputs[0], RowKind::kTokens, columns).floats;
  add(std::move(step));
  add_quantizers(node, node.outputs[0], true);
}

void Lowering::set_tables(const Node& node, EmbeddingsStep& step, size_t hidden) {
  step.hidden = hidden;
  const auto table = [&](ValueId id) -> const Tensor* {
    if (id == kNoValue) return nullptr;
    const Tensor& found = constant(id);
    if (static_cast<size_t>(found.shape[1]) != hidden) cannot(node, "tables of different widths");
    return &found;
  };
  const Tensor *words = table(node.inputs[2]), *types = table(node.inputs[3]),
               *positions = table(node.inputs[4]);
  step.words = words->as<float>().data();
  plan_->vocabulary = static_cast<size_t>(words->shape[0]);
  tables_.push_back(*words);
  if (types) {
    step.types = types->as<float>().data();
    plan_->token_types = static_cast<size_t>(types->shape[0]);
    plan_->reads_types = node.inputs[1] != kNoValue;
    tables_.push_back(*types);
  }
  if (positions) {
    step.positions = positions->as<float>().data();
    plan_->positions = static_cast<size_t>(positions->shape[0]);
    tables_.push_back(*positions);
  }
  plan_->owner = std::make_shared<std::vector<Tensor>>(tables_);
}

void Lowering::make_activation(const Node& node) {
  if (const Node* linear = absorbed_producer(node.inputs[0]))
    return integer_ ? make_linear(*linear, &node) : make_float_linear(*linear, &node);
  const Home from = home(node, node.inputs[0]);
  auto step = std::make_unique<ActivationStep>(what(node, node.text("kind", "")));
  step->input = floats_of(node, node.inputs[0]);
  step->rows = from.rows;
  step->columns = from.columns;
  step->activation = activation_of(node);
  step->clip = node.real("clip", std::numeric_limits<float>::infinity());
  step->output = *make_float_home(node.outputs[0], from.rows, from.columns).floats;
  add(std::move(step));
  add_quantizers(node, node.outputs[0], true);
}

std::unique_ptr<Step> Lowering::exact_linear(const Node& linear, PlanStep info, Stored input, Stored output,
                                             size_t n) {
  const Tensor& weight = constant(linear.inputs[1]);
  const bool transposed = linear.integer("transposed", 0) != 0;
  auto step = std::make_unique<LinearF32Step>(std::move(info));
  step->input = input;
  step->output = output;
  step->rows = home(linear, linear.inputs[0]).rows;
  step->k = static_cast<size_t>(weight.shape[transposed ? 1 : 0]);
  step->n = n;
  step->weight.resize(packed_f32_size(step->k, n));
  pack_f32({weight.as<float>().data(), step->k, n, transposed ? 1 : n, transposed ? step->k : 1},
           step->weight.data());
  step->bias.assign(round_up_to(n, 16), 0.0f);
  if (linear.inputs[2] != kNoValue) {
    const std::span<const float> bias = constant(linear.inputs[2]).as<float>();
    std::copy(bias.begin(), bias.end(), step->bias.begin());
  }
  return step;
}

std::unique_ptr<Step> Lowering::fast_linear(const Node& linear, PlanStep info, Stored input, Stored output,
                                            const Node* activation) {
  const bool quantized = linear.op == "qdqbert.QuantizedLinear";
  const bool transposed = linear.integer("transposed", 0) != 0;
  const Tensor& weight = constant(linear.inputs[1]);
  const auto rows = static_cast<size_t>(weight.shape[0]), columns = static_cast<size_t>(weight.shape[1]);
  const size_t k = transposed ? columns : rows, n = transposed ? rows : columns;
  std::vector<float> dequantized;
  const float* values = nullptr;
  if (quantized) {
    const LinearPart part = part_of(linear);
    dequantized.resize(rows * columns);
    for (size_t i = 0; i < dequantized.size(); ++i) {
      const size_t output_column = transposed ? i / columns : i % columns;
      dequantized[i] = static_cast<float>(part.codes.data[i]) *
                       part.weight_scale[part.weight_scale.size() == 1 ? 0 : output_column];
    }
    values = dequantized.data();
  } else {
    values = weight.as<float>().data();
  }
  std::span<const float> bias;
  if (const ValueId id = linear.inputs[quantized ? 3 : 2]; id != kNoValue) bias = constant(id).as<float>();
  FloatLinear packed({values, k, n, transposed ? 1 : n, transposed ? k : 1}, bias, matmul_);
  info.kernel = packed.kernel();
  info.note = packed.note();
  plan_->bit_exact = false;
  auto step = std::make_unique<FloatLinearStep>(std::move(info), std::move(packed));
  step->input = input;
  step->output = output;
  step->rows = home(linear, linear.inputs[0]).rows;
  if (activation) {
    step->activation = activation_of(*activation);
    step->clip = activation->real("clip", std::numeric_limits<float>::infinity());
    step->info.kind += " + " + activation->text("kind", "");
  }
  return step;
}

void Lowering::make_float_linear(const Node& linear, const Node* activation) {
  const bool quantized = linear.op == "qdqbert.QuantizedLinear";
  const Home from = home(linear, linear.inputs[0]);
  const Tensor& weight = constant(linear.inputs[1]);
  const bool transposed = linear.integer("transposed", 0) != 0;
  const auto k = static_cast<size_t>(weight.shape[transposed ? 1 : 0]),
             n = static_cast<size_t>(weight.shape[transposed ? 0 : 1]);
  if (k != from.columns) cannot(linear, "{} columns for a weight of {}", from.columns, k);
  if (const ValueId bias = linear.inputs[quantized ? 3 : 2];
      bias != kNoValue && static_cast<size_t>(constant(bias).count()) != n)
    cannot(linear, "a bias of {} for {} outputs", constant(bias).count(), n);
  const Stored input = fake_quantized(linear, linear.inputs[0], quantized ? linear.real("scale", 0) : 0);
  PlanStep info = what(linear, "linear");
  const double operations = 2.0 * static_cast<double>(k) * static_cast<double>(n);
  (from.rows == RowKind::kTexts ? info.operations_per_text : info.operations_per_token) = operations;
  const ValueId out = (activation ? *activation : linear).outputs[0];
  const Stored output = *make_float_home(out, from.rows, n).floats;
  // A product of few columns costs a library more to start than to compute.
  const bool exact = integer_ || (!quantized && !activation && narrow_f32(n));
  add(exact ? exact_linear(linear, std::move(info), input, output, n)
            : fast_linear(linear, std::move(info), input, output, activation));
  add_quantizers(linear, out, true);
}

Stored Lowering::fake_quantized(const Node& node, ValueId id, float scale) {
  const Stored from = floats_of(node, id);
  if (!(scale > 0)) return from;
  const auto [entry, is_new] = fake_quantized_.try_emplace({id, scale});
  if (is_new) {
    const Home& at = home(node, id);
    auto step = std::make_unique<FakeQuantizeStep>(what(node, "fake quantize"));
    step->input = from;
    step->output = entry->second = new_floats(at.rows, at.columns);
    step->rows = at.rows;
    step->columns = at.columns;
    step->scale = scale;
    add(std::move(step));
  }
  return used(entry->second);
}

void Lowering::make_fake_quantize(const Node& node) {
  const Home from = home(node, node.inputs[0]);
  Home& made = homes_[node.outputs[0]];
  made.rows = from.rows;
  made.columns = from.columns;
  made.floats = fake_quantized(node, node.inputs[0], node.real("scale", 0));
  add_quantizers(node, node.outputs[0], true);
}

void Lowering::make_add_norm(const Node& node) {
  const Home from = home(node, node.inputs[0]);
  const ValueId out = node.outputs[0];
  if (home(node, node.inputs[1]).columns != from.columns || home(node, node.inputs[1]).rows != from.rows)
    cannot(node, "the residual has other sizes");
  check_norm(node, 2, from.columns, demands_[out].flipped.size());
  const Stored x = fake_quantized(node, node.inputs[0], node.real("x_scale", 0));
  const Stored residual = fake_quantized(node, node.inputs[1], node.real("residual_scale", 0));
  auto step = std::make_unique<NormStep>(what(node, "residual + layernorm"));
  step->input = x;
  step->residual = used(residual);
  step->rows = from.rows;
  step->columns = from.columns;
  step->gamma = padded(constant(node.inputs[2]), from.columns);
  step->beta = padded(constant(node.inputs[3]), from.columns);
  step->epsilon = node.real("epsilon", 1e-5f);
  used(x);
  Home& made = make_home(out, from.rows, from.columns);
  step->codes = made.flipped;
  step->floats = made.floats;
  add(std::move(step));
  add_quantizers(node, out, false);
}

void Lowering::make_float_attention(const Node& node) {
  const Home from = home(node, node.inputs[0]);
  const auto heads = static_cast<size_t>(node.integer("heads", 0));
  if (heads == 0 || from.columns % heads != 0 || from.rows != RowKind::kTokens)
    cannot(node, "{} heads in {} columns", heads, from.columns);
  const RowKind sources = node.integer("sources", 0) != 0 ? RowKind::kSources : RowKind::kTokens;
  for (size_t i = 0; i < 3; ++i) {
    const Home& at = home(node, node.inputs[i]);
    if (at.columns != from.columns) cannot(node, "query, key and value differ in width");
    if (i > 0 && at.rows != sources) cannot(node, "keys and values are rows of something else");
  }
  Stored at[3];
  const char* scales[3] = {"q_scale", "k_scale", "v_scale"};
  for (size_t i = 0; i < 3; ++i) at[i] = fake_quantized(node, node.inputs[i], node.real(scales[i], 0));
  PlanStep info = what(node, "attention", std::string(products::backend()) + " f32");
  info.operations_per_pair = 4.0 * static_cast<double>(from.columns);
  if (integer_) info.note = "not all of its operands are quantized; in float, outside of the bit promise";
  plan_->bit_exact = false;
  all_causal_ = false;
  auto step = std::make_unique<FloatAttentionStep>(std::move(info));
  step->causal = node.integer("causal", 0) != 0;
  if (node.inputs.size() > 3) {
    const Tensor& table = distance_table(node);
    step->distances.assign(table.as<float>().begin(), table.as<float>().end());
    step->by_key = node.integer("by_key", 0) != 0;
    step->query_floats = floats_of(node, node.inputs[0]);
    step->key_floats = floats_of(node, node.inputs[1]);
  }
  step->sources = sources;
  step->query = used(at[0]);
  step->key = used(at[1]);
  step->value = used(at[2]);
  step->heads = heads;
  step->head_size = from.columns / heads;
  step->score_factor = node.real("factor", 1);
  step->probability_scale = node.real("p_scale", 0);
  step->output = *make_float_home(node.outputs[0], RowKind::kTokens, from.columns).floats;
  add(std::move(step));
  add_quantizers(node, node.outputs[0], true);
}

}  // namespace qdqbert::engine
