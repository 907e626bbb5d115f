#include <fmt/ranges.h>

#include "qdqbert/engine/plan/lowering.h"

namespace qdqbert::engine {

namespace {

/// Why a graph cannot be packed: the nodes that are the cause, and how many are their consequence.
class Obstacles {
 public:
  void add(const Node& node, const CannotPack& problem) {
    if (problem.follows && !causes_.empty())
      ++consequences_[node.op];
    else
      causes_.push_back(problem.reason);
  }

  /// Throws CannotPack when there are any.
  void check() const {
    if (causes_.empty()) return;
    constexpr size_t kNamed = 12;
    const auto named = causes_.begin() + static_cast<std::ptrdiff_t>(std::min(kNamed, causes_.size()));
    std::string text = fmt::format("{}", fmt::join(causes_.begin(), named, "; "));
    if (causes_.size() > kNamed) text += fmt::format("; and {} more", causes_.size() - kNamed);
    if (!consequences_.empty()) text += "; what reads these runs unpacked too:";
    for (const auto& [op, count] : consequences_) text += fmt::format(" {} {}", count, op);
    throw CannotPack{text};
  }

 private:
  std::vector<std::string> causes_;
  std::map<std::string, size_t> consequences_;
};

}  // namespace

std::unique_ptr<Plan> Lowering::take() {
  check_inputs();
  for (const Node& node : graph_.nodes) absorb(node);
  for (const ValueId id : graph_.outputs) demands_[id].floats = true;
  for (size_t n = graph_.nodes.size(); n-- > 0;)
    if (!absorbed_[n]) ask(graph_.nodes[n]);
  make_sources();
  Obstacles obstacles;
  for (size_t n = 0; n < graph_.nodes.size(); ++n) {
    if (absorbed_[n]) continue;
    try {
      make(graph_.nodes[n]);
    } catch (const CannotPack& problem) {
      obstacles.add(graph_.nodes[n], problem);
    }
  }
  obstacles.check();
  for (const ValueId id : graph_.outputs) add_output(id);
  if (!all_causal_) plan_->cached_widths.clear();
  assign_slots(*plan_);
  link_weights(*plan_);
  return std::move(plan_);
}

void Lowering::check_inputs() {
  for (const ValueId id : graph_.inputs) {
    const Value& input = graph_.values[id];
    if (input.name == "encoder_hidden_states" || input.name == "encoder_attention_mask") continue;
    if (input.name.rfind("past_key_values.", 0) == 0)
      throw CannotPack{
          fmt::format("graph input {} is read by more than a decoder's own attention; export without a past, "
                      "keys and values are kept by the session",
                      input.name)};
    if (input.name != "input_ids" && input.name != "attention_mask" && input.name != "token_type_ids" &&
        input.name != "position_ids")
      throw CannotPack{fmt::format(
          "graph input {} is none of input_ids, attention_mask, token_type_ids, position_ids", input.name)};
    if (input.shape && input.shape->size() == 3) plan_->by_choices = true;
  }
}

void Lowering::make_sources() {
  for (const ValueId id : graph_.inputs) {
    const Value& input = graph_.values[id];
    if (input.name != "encoder_hidden_states" || demands_[id].count() == 0) continue;
    const Node node{input.name, "input", 13, {}, {id}, {}};
    if (!input.shape || input.shape->size() != 3 || input.shape->back() < 1 || input.dtype != DType::kF32)
      cannot(node, "its rows have no known number of F32 columns");
    const auto columns = static_cast<size_t>(input.shape->back());
    plan_->source_width = columns;
    auto step = std::make_unique<SourcesStep>(what(node, "encoder states"));
    step->columns = columns;
    step->output = *make_float_home(id, RowKind::kSources, columns).floats;
    add(std::move(step));
    add_quantizers(node, id, true);
  }
}

void Lowering::absorb(const Node& node) {
  const auto take = [&](const Node* producer) {
    if (producer) absorbed_[index_of(*producer)] = true;
  };
  if (node.op == "qdqbert.Activation" && !integer_)
    take(private_producer(node.inputs[0], {"qdqbert.QuantizedLinear", "qdqbert.Linear"}));
  else if (node.op == "qdqbert.Activation" || (node.op == "qdqbert.ResidualNorm" && integer_))
    take(private_producer(node.inputs[0], {"qdqbert.QuantizedLinear"}));
  else if (node.op == "LayerNormalization")
    take(private_producer(node.inputs[0], {"qdqbert.Embeddings"}));
  else if (node.op == "qdqbert.Attention")
    for (const Node* projection : shared_projections(node)) take(projection);
}

std::vector<const Node*> Lowering::shared_projections(const Node& attention) const {
  if (!is_integer(attention) || attention.inputs.size() > 3 || attention.integer("sources", 0) != 0)
    return {};
  std::vector<const Node*> found;
  for (const ValueId id : attention.inputs) {
    const Node* projection = private_producer(id, {"qdqbert.QuantizedLinear"});
    if (!projection || weight_columns(*projection) % gemm_.columns != 0) return {};
    if (!found.empty() && (projection->inputs[0] != found[0]->inputs[0] ||
                           projection->real("scale", 0) != found[0]->real("scale", 0)))
      return {};
    found.push_back(projection);
  }
  return found;
}

void Lowering::ask(const Node& node) {
  if (node.op == "qdqbert.QuantizedLinear" && integer_) {
    ask_input(node);
  } else if (node.op == "qdqbert.Activation") {
    const Node* linear = absorbed_producer(node.inputs[0]);
    if (linear && integer_)
      ask_input(*linear);
    else
      demands_[linear ? linear->inputs[0] : node.inputs[0]].floats = true;
  } else if (node.op == "qdqbert.ResidualNorm") {
    const Node* linear = absorbed_producer(node.inputs[0]);
    if (linear)
      ask_input(*linear);
    else
      demands_[node.inputs[0]].floats = true;
    const float scale = node.real("residual_scale", 0);
    if (scale > 0 && linear)
      Demand::add(demands_[node.inputs[1]].flipped, scale);
    else
      demands_[node.inputs[1]].floats = true;
  } else if (node.op == "qdqbert.Attention") {
    if (!is_integer(node)) {
      for (size_t i = 0; i < 3; ++i) demands_[node.inputs[i]].floats = true;
      return;
    }
    const auto projections = shared_projections(node);
    if (!projections.empty()) return ask_input(*projections[0]);
    Demand::add(demands_[node.inputs[0]].flipped, node.real("q_scale", 0));
    Demand::add(demands_[node.inputs[1]].direct, node.real("k_scale", 0));
    Demand::add(demands_[node.inputs[2]].direct, node.real("v_scale", 0));
    if (node.inputs.size() > 3)
      for (size_t i = 0; i < 2; ++i) demands_[node.inputs[i]].floats = true;
  } else if (node.op == "LayerNormalization") {
    if (!absorbed_producer(node.inputs[0])) demands_[node.inputs[0]].floats = true;
  } else if (is_wanted(node) && !node.inputs.empty() && node.inputs[0] != kNoValue) {
    demands_[node.inputs[0]].floats = true;
  }
}

void Lowering::add_quantizers(const Node& node, ValueId id, bool with_flipped) {
  Home& made = homes_[id];
  const auto quantize = [&](float scale, bool flipped) {
    auto step = std::make_unique<QuantizeStep>(what(node, "quantize"));
    step->input = used(*made.floats);
    step->output = new_codes(made.rows, made.columns);
    step->rows = made.rows;
    step->columns = made.columns;
    step->scale = scale;
    step->flipped = flipped;
    (flipped ? made.flipped : made.direct).push_back({step->output, scale});
    add(std::move(step));
  };
  if (with_flipped)
    for (const float scale : demands_[id].flipped) quantize(scale, true);
  for (const float scale : demands_[id].direct) quantize(scale, false);
}

void Lowering::make(const Node& node) {
  if (node.op == "qdqbert.QuantizedLinear")
    return integer_ ? make_linear(node, nullptr) : make_float_linear(node, nullptr);
  if (node.op == "qdqbert.ResidualNorm")
    return absorbed_producer(node.inputs[0]) ? make_residual_norm(node) : make_add_norm(node);
  if (node.op == "qdqbert.Attention")
    return is_integer(node) ? make_attention(node) : make_float_attention(node);
  if (node.op == "qdqbert.FakeQuantize") return make_fake_quantize(node);
  if (node.op == "LayerNormalization") return make_norm(node);
  if (!is_wanted(node)) return;
  if (node.op == "qdqbert.Embeddings") return make_embeddings(node);
  if (node.op == "qdqbert.Activation") return make_activation(node);
  if (node.op == "qdqbert.Linear") return make_float_linear(node, nullptr);
  if (node.op == "qdqbert.WantedRows") return make_wanted_rows(node);
  if (node.op == "Gather" || node.op == "Slice") return make_first_token(node);
  if (node.op == "Split") return make_split(node);
  // Rows of a plan are floats already; what a conversion to integers means here nobody has asked for.
  const bool keeps = node.op == "Identity" || (node.op == "Cast" && node.integer("to", 0) == 1);
  if (node.op == "Squeeze" || keeps) return make_squeeze(node);
  if (node.op == "Reshape") return make_choices(node);
  cannot(node, "no step over packed tokens");
}

void Lowering::check_norm(const Node& node, size_t gamma, size_t columns, size_t copies) const {
  for (size_t i = gamma; i < gamma + 2; ++i)
    if (i >= node.inputs.size() || !graph_.is_constant(node.inputs[i]) ||
        constant(node.inputs[i]).dtype != DType::kF32 ||
        static_cast<size_t>(constant(node.inputs[i]).count()) != columns)
      cannot(node, "weight and bias are not {} floats", columns);
  if (copies > 8) cannot(node, "{} quantizers read it, 8 at most are written at once", copies);
}

Lowered lower(const Graph& graph, Isa isa, Precision precision) {
  try {
    return {Lowering(graph, isa, precision).take(), {}};
  } catch (const CannotPack& problem) {
    return {nullptr, problem.reason};
  }
}

}  // namespace qdqbert::engine
