#include "qdqbert/engine/plan/lower.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "qdqbert/engine/kernels/select.h"
#include "qdqbert/engine/passes/match.h"
#include "qdqbert/engine/passes/probe.h"
#include "qdqbert/engine/plan/steps.h"

namespace qdqbert::engine {

namespace {

/// Thrown and caught in this file only.
struct CannotPack {
  std::string reason;
};

template <class... Args>
[[noreturn]] void cannot(const Node& node, fmt::format_string<Args...> format, Args&&... args) {
  throw CannotPack{
      fmt::format("{} ({}): {}", node.name, node.op, fmt::format(format, std::forward<Args>(args)...))};
}

size_t round_up(size_t a, size_t b) {
  return (a + b - 1) / b * b;
}

/// In which forms the readers of a value want it.
struct Demand {
  std::vector<float> flipped;  ///< scales of codes that a GEMM reads as A, or a residual
  std::vector<float> direct;   ///< scales of codes that attention packs as B
  bool floats = false;
  size_t count() const { return flipped.size() + direct.size() + (floats ? 1 : 0); }
  static void add(std::vector<float>& scales, float scale) {
    if (std::find(scales.begin(), scales.end(), scale) == scales.end()) scales.push_back(scale);
  }
};

/// Where a value lies.
struct Home {
  RowKind rows = RowKind::kTokens;
  size_t columns = 0;
  bool keeps_columns = true;
  bool by_choices = false;
  std::optional<Stored> floats;
  std::vector<CodeCopy> flipped, direct;
};

Activation activation_of(const Node& node) {
  const std::string kind = node.text("kind", "");
  if (kind == "gelu") return Activation::kGelu;
  if (kind == "gelu_tanh") return Activation::kGeluTanh;
  if (kind == "relu") return Activation::kRelu;
  if (kind == "silu") return Activation::kSilu;
  if (kind == "tanh") return Activation::kTanh;
  cannot(node, "no kernel for {}", kind);
}

class Lowering {
 public:
  Lowering(const Graph& graph, Isa isa)
      : graph_(const_cast<Graph&>(graph)),
        match_(graph_),
        probes_(probe(graph)),
        gemm_(gemm_s8_for(isa)),
        rows_(rows_for(isa)),
        isa_(name_of(isa)),
        plan_(std::make_unique<Plan>()),
        demands_(graph.values.size()),
        homes_(graph.values.size()),
        absorbed_(graph.nodes.size(), false) {
    plan_->gemm = &gemm_;
    plan_->row_kernels = &rows_;
  }

  std::unique_ptr<Plan> take() {
    check_inputs();
    for (const Node& node : graph_.nodes) absorb(node);
    for (const ValueId id : graph_.outputs) demands_[id].floats = true;
    for (size_t n = graph_.nodes.size(); n-- > 0;)
      if (!absorbed_[n]) ask(graph_.nodes[n]);
    for (size_t n = 0; n < graph_.nodes.size(); ++n)
      if (!absorbed_[n]) make(graph_.nodes[n]);
    for (const ValueId id : graph_.outputs) add_output(id);
    assign_slots(*plan_);
    return std::move(plan_);
  }

 private:
  // ---- what belongs together

  size_t index_of(const Node& node) const { return static_cast<size_t>(&node - graph_.nodes.data()); }

  void check_inputs() {
    for (const ValueId id : graph_.inputs) {
      const Value& input = graph_.values[id];
      if (input.name != "input_ids" && input.name != "attention_mask" && input.name != "token_type_ids" &&
          input.name != "segment_ids")
        throw CannotPack{
            fmt::format("graph input {} is none of input_ids, attention_mask, token_type_ids", input.name)};
      if (input.shape && input.shape->size() == 3) plan_->by_choices = true;
    }
  }

  const Node* private_producer(ValueId id, std::initializer_list<std::string_view> ops) const {
    return match_.is_private(id) ? match_.producer(id, ops) : nullptr;
  }

  /// Marks nodes that become part of their reader's step.
  void absorb(const Node& node) {
    const auto take = [&](const Node* producer) {
      if (producer) absorbed_[index_of(*producer)] = true;
    };
    if (node.op == "qdqbert.Activation" || node.op == "qdqbert.ResidualNorm")
      take(private_producer(node.inputs[0], {"qdqbert.QuantizedLinear"}));
    else if (node.op == "LayerNormalization")
      take(private_producer(node.inputs[0], {"qdqbert.Embeddings"}));
    else if (node.op == "qdqbert.Attention")
      for (const Node* projection : shared_projections(node)) take(projection);
  }

  const Node* absorbed_producer(ValueId id) const {
    const Node* producer = match_.producer(id, {"qdqbert.QuantizedLinear", "qdqbert.Embeddings"});
    return producer && absorbed_[index_of(*producer)] ? producer : nullptr;
  }

  /// Query, key and value projections of one input, which fit into one GEMM; else nothing.
  std::vector<const Node*> shared_projections(const Node& attention) const {
    if (!is_quantized(attention)) return {};
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

  static bool is_quantized(const Node& attention) {
    for (const char* scale : {"q_scale", "k_scale", "p_scale", "v_scale"})
      if (!(attention.real(scale, 0) > 0)) return false;
    return true;
  }

  const Tensor& constant(ValueId id) const { return *graph_.values[id].constant; }

  size_t weight_columns(const Node& linear) const {
    return static_cast<size_t>(constant(linear.inputs[1]).shape[linear.integer("transposed", 0) ? 0 : 1]);
  }

  // ---- demands

  void ask(const Node& node) {
    if (node.op == "qdqbert.QuantizedLinear") {
      ask_input(node);
    } else if (node.op == "qdqbert.Activation") {
      if (const Node* linear = absorbed_producer(node.inputs[0]))
        ask_input(*linear);
      else
        demands_[node.inputs[0]].floats = true;
    } else if (node.op == "qdqbert.ResidualNorm") {
      const Node* linear = absorbed_producer(node.inputs[0]);
      if (!linear) cannot(node, "the sum's first operand is not quantized");
      ask_input(*linear);
      const float scale = node.real("residual_scale", 0);
      if (scale > 0)
        Demand::add(demands_[node.inputs[1]].flipped, scale);
      else
        demands_[node.inputs[1]].floats = true;
    } else if (node.op == "qdqbert.Attention") {
      if (!is_quantized(node)) cannot(node, "not all four operands of attention are quantized");
      const auto projections = shared_projections(node);
      if (!projections.empty()) return ask_input(*projections[0]);
      Demand::add(demands_[node.inputs[0]].flipped, node.real("q_scale", 0));
      Demand::add(demands_[node.inputs[1]].direct, node.real("k_scale", 0));
      Demand::add(demands_[node.inputs[2]].direct, node.real("v_scale", 0));
    } else if (node.op == "LayerNormalization") {
      if (!absorbed_producer(node.inputs[0])) demands_[node.inputs[0]].floats = true;
    } else if (is_wanted(node)) {
      demands_[node.inputs[0]].floats = true;
    }
  }

  void ask_input(const Node& linear) {
    Demand::add(demands_[linear.inputs[0]].flipped, linear.real("scale", 0));
  }

  /// Whether someone reads what the node makes; masks and sizes were resolved by the passes and are not.
  bool is_wanted(const Node& node) const {
    return std::any_of(node.outputs.begin(), node.outputs.end(),
                       [&](ValueId id) { return id != kNoValue && demands_[id].count() > 0; });
  }

  // ---- buffers

  BufferId new_buffer(RowKind rows, size_t row_bytes) {
    plan_->buffers.push_back({rows, row_bytes, plan_->steps.size(), plan_->steps.size(), 0});
    return static_cast<BufferId>(plan_->buffers.size() - 1);
  }
  Stored new_codes(RowKind rows, size_t columns) {
    const size_t ld = padded_k(columns);
    return {new_buffer(rows, ld), 0, ld};
  }
  Stored new_floats(RowKind rows, size_t columns) {
    const size_t ld = padded_k(columns);
    return {new_buffer(rows, ld * sizeof(float)), 0, ld};
  }
  Stored used(Stored at) {
    plan_->buffers[at.buffer].last_step = plan_->steps.size();
    return at;
  }

  template <class T>
  T& add(std::unique_ptr<T> step) {
    T& added = *step;
    plan_->steps.push_back(std::move(step));
    return added;
  }

  const Home& home(const Node& node, ValueId id) const {
    if (homes_[id].columns == 0)
      cannot(node, "its input {} has no rows of tokens or texts", graph_.values[id].name);
    return homes_[id];
  }
  Stored floats_of(const Node& node, ValueId id) {
    const Home& at = home(node, id);
    if (!at.floats) cannot(node, "its input {} is not kept in float", graph_.values[id].name);
    return used(*at.floats);
  }
  Stored codes_of(const Node& node, ValueId id, float scale, bool flipped) {
    for (const CodeCopy& copy : flipped ? home(node, id).flipped : home(node, id).direct)
      if (copy.scale == scale) return used(copy.at);
    cannot(node, "its input {} is not kept with scale {}", graph_.values[id].name, scale);
  }

  /// Buffers for all forms in which a value is wanted, for steps that write them all at once.
  Home& make_home(ValueId id, RowKind rows, size_t columns) {
    Home& made = homes_[id];
    made.rows = rows;
    made.columns = columns;
    const Demand& demand = demands_[id];
    for (const float scale : demand.flipped) made.flipped.push_back({new_codes(rows, columns), scale});
    if (demand.floats || !demand.direct.empty()) made.floats = new_floats(rows, columns);
    return made;
  }

  /// For steps that write floats only: codes come from them, step by step.
  Home& make_float_home(ValueId id, RowKind rows, size_t columns) {
    Home& made = homes_[id];
    made.rows = rows;
    made.columns = columns;
    made.floats = new_floats(rows, columns);
    return made;
  }
  void add_quantizers(const Node& node, ValueId id, bool with_flipped) {
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

  PlanStep what(const Node& node, std::string kind, std::string kernel = {}) const {
    PlanStep info;
    info.name = node.name;
    info.kind = std::move(kind);
    info.kernel = kernel.empty() ? rows_.name : std::move(kernel);
    return info;
  }

  // ---- steps

  void make(const Node& node) {
    if (node.op == "qdqbert.QuantizedLinear") return make_linear(node, nullptr);
    if (node.op == "qdqbert.ResidualNorm") return make_residual_norm(node);
    if (node.op == "qdqbert.Attention") return make_attention(node);
    if (node.op == "LayerNormalization") return make_norm(node);
    if (!is_wanted(node)) return;
    if (node.op == "qdqbert.Activation") return make_activation(node);
    if (node.op == "qdqbert.Linear") return make_float_linear(node);
    if (node.op == "Gather" || node.op == "Slice") return make_first_token(node);
    if (node.op == "Split") return make_split(node);
    if (node.op == "Squeeze" || node.op == "Identity") return make_squeeze(node);
    if (node.op == "Reshape") return make_choices(node);
    cannot(node, "no step over packed tokens");
  }

  LinearPart part_of(const Node& linear) const {
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

  PackedLinear pack(const Node& linear) const {
    const LinearPart part = part_of(linear);
    return pack_linear(gemm_, {&part, 1}, linear.real("scale", 0));
  }

  /// `node` gives the step its result: the linear itself or the activation behind it.
  void make_linear(const Node& linear, const Node* activation) {
    const Node& node = activation ? *activation : linear;
    const ValueId out = node.outputs[0];
    const Demand& demand = demands_[out];
    const bool as_codes = demand.count() == 1 && !demand.floats;
    PackedLinear packed = pack(linear);
    const size_t columns = packed.n;
    PlanStep info = what(linear, "linear int8", gemm_.name);
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

  static std::vector<float> padded(const Tensor& values, size_t to) {
    const std::span<const float> given = values.as<float>();
    std::vector<float> out(round_up(to, 16), 0.0f);
    std::copy(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(std::min(given.size(), to)),
              out.begin());
    return out;
  }

  void check_norm(const Node& node, size_t gamma, size_t columns, size_t copies) const {
    for (size_t i = gamma; i < gamma + 2; ++i)
      if (i >= node.inputs.size() || !graph_.is_constant(node.inputs[i]) ||
          constant(node.inputs[i]).dtype != DType::kF32 ||
          static_cast<size_t>(constant(node.inputs[i]).count()) != columns)
        cannot(node, "weight and bias are not {} floats", columns);
    if (copies > 8) cannot(node, "{} quantizers read it, 8 at most are written at once", copies);
  }

  void make_residual_norm(const Node& node) {
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
    auto step = std::make_unique<LinearNormS8Step>(std::move(info), std::move(packed), std::move(norm));
    step->input = codes_of(linear, linear.inputs[0], linear.real("scale", 0), true);
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

  void make_attention(const Node& node) {
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
    PlanStep info = what(node, as_codes ? "attention int8 + quantize" : "attention int8", gemm_.name);
    info.operations_per_pair = 4.0 * static_cast<double>(width);
    auto step = std::make_unique<AttentionS8Step>(std::move(info), gemm_, attention);
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

  void make_norm(const Node& node) {
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

  void set_tables(const Node& node, EmbeddingsStep& step, size_t hidden) {
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
      tables_.push_back(*types);
    }
    if (positions) {
      step.positions = positions->as<float>().data();
      plan_->positions = static_cast<size_t>(positions->shape[0]);
      tables_.push_back(*positions);
    }
    plan_->owner = std::make_shared<std::vector<Tensor>>(tables_);
  }

  void make_activation(const Node& node) {
    if (const Node* linear = absorbed_producer(node.inputs[0])) return make_linear(*linear, &node);
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

  void make_float_linear(const Node& node) {
    const Home from = home(node, node.inputs[0]);
    const Tensor& weight = constant(node.inputs[1]);
    const bool transposed = node.integer("transposed", 0) != 0;
    const auto k = static_cast<size_t>(weight.shape[transposed ? 1 : 0]),
               n = static_cast<size_t>(weight.shape[transposed ? 0 : 1]);
    if (k != from.columns) cannot(node, "{} columns for a weight of {}", from.columns, k);
    PlanStep info = what(node, "linear f32");
    const double operations = 2.0 * static_cast<double>(k) * static_cast<double>(n);
    (from.rows == RowKind::kTokens ? info.operations_per_token : info.operations_per_text) = operations;
    auto step = std::make_unique<LinearF32Step>(std::move(info));
    step->input = floats_of(node, node.inputs[0]);
    step->rows = from.rows;
    step->k = k;
    step->n = n;
    const size_t ld = round_up(n, 16);
    step->weight.assign(k * ld, 0.0f);
    const std::span<const float> values = weight.as<float>();
    for (size_t i = 0; i < k; ++i)
      for (size_t j = 0; j < n; ++j)
        step->weight[i * ld + j] = transposed ? values[j * k + i] : values[i * n + j];
    step->bias.assign(ld, 0.0f);
    if (node.inputs[2] != kNoValue) {
      const std::span<const float> bias = constant(node.inputs[2]).as<float>();
      if (bias.size() != n) cannot(node, "a bias of {} for {} outputs", bias.size(), n);
      std::copy(bias.begin(), bias.end(), step->bias.begin());
    }
    step->output = *make_float_home(node.outputs[0], from.rows, n).floats;
    add(std::move(step));
    add_quantizers(node, node.outputs[0], true);
  }

  /// Position 0 of every text: [B, S, H] to [B, H] or [B, 1, H].
  void make_first_token(const Node& node) {
    const Home from = home(node, node.inputs[0]);
    const auto first_only = [&](ValueId id) {
      const Tensor* index = match_.constant(id);
      if (!index || index->dtype == DType::kF32) return false;
      const std::vector<int64_t> values = to_int64(index->view());
      return values.size() == 1 && values[0] == 0;
    };
    bool fits = from.rows == RowKind::kTokens && from.keeps_columns && first_only(node.inputs[1]);
    if (node.op == "Gather") fits = fits && node.integer("axis", 0) == 1;
    for (const Probe& run : probes_.runs) {
      const auto& in = run.facts[node.inputs[0]].shape;
      const auto& out = run.facts[node.outputs[0]].shape;
      fits = fits && in && out && in->size() == 3 && (*out)[0] == run.batch && out->back() == in->back() &&
             (out->size() == 2 || (out->size() == 3 && (*out)[1] == 1));
    }
    if (!fits) cannot(node, "takes something else than the first token of each text");
    auto step = std::make_unique<FirstTokenStep>(what(node, "first token"));
    step->input = floats_of(node, node.inputs[0]);
    step->columns = from.columns;
    step->output = *make_float_home(node.outputs[0], RowKind::kTexts, from.columns).floats;
    plan_->reads_first_token = true;
    add(std::move(step));
    add_quantizers(node, node.outputs[0], true);
  }

  void make_split(const Node& node) {
    const Home from = home(node, node.inputs[0]);
    size_t column = 0;
    for (const ValueId id : node.outputs) {
      const auto& shape = probes_.runs[0].facts[id].shape;
      const auto& in = probes_.runs[0].facts[node.inputs[0]].shape;
      const int64_t axis = node.integer("axis", 0);
      if (!shape || !in || (axis != -1 && axis != static_cast<int64_t>(in->size()) - 1) ||
          !from.keeps_columns)
        cannot(node, "splits another axis than the last");
      Home& made = homes_[id];
      made = from;
      made.flipped.clear();
      made.direct.clear();
      made.columns = static_cast<size_t>(shape->back());
      made.floats = floats_of(node, node.inputs[0]);
      made.floats->column += column;
      column += made.columns;
    }
  }

  void make_squeeze(const Node& node) {
    Home from = home(node, node.inputs[0]);
    const auto& in = probes_.runs[0].facts[node.inputs[0]].shape;
    const auto& out = probes_.runs[0].facts[node.outputs[0]].shape;
    if (!in || !out) cannot(node, "its shapes are not known");
    const bool drops_columns = in->size() > out->size() && from.columns == 1 && out->back() != 1;
    const bool drops_position =
        in->size() == 3 && (*in)[1] == 1 && out->size() == 2 && from.rows == RowKind::kTexts;
    if (in->size() != out->size() && !drops_columns && !drops_position) cannot(node, "squeezes another axis");
    from.keeps_columns = from.keeps_columns && !drops_columns;
    from.floats = floats_of(node, node.inputs[0]);
    homes_[node.outputs[0]] = from;
  }

  /// [B * C, 1] to [B, C].
  void make_choices(const Node& node) {
    Home from = home(node, node.inputs[0]);
    const auto& out = probes_.runs[1].facts[node.outputs[0]].shape;
    if (!plan_->by_choices || from.rows != RowKind::kTexts || from.columns != 1 || !out || out->size() != 2 ||
        (*out)[0] * (*out)[1] != probes_.runs[1].batch)
      cannot(node, "changes the shape of packed rows");
    from.by_choices = true;
    from.floats = floats_of(node, node.inputs[0]);
    homes_[node.outputs[0]] = from;
  }

  void add_output(ValueId id) {
    const Home& from = homes_[id];
    if (!from.floats)
      throw CannotPack{fmt::format("graph output {} has no rows of tokens or texts", graph_.values[id].name)};
    plan_->outputs.push_back({graph_.values[id].name, from.rows, from.columns, from.keeps_columns,
                              from.by_choices, used(*from.floats)});
  }

  Graph& graph_;
  const Match match_;
  const Probes probes_;
  const GemmS8Kernel& gemm_;
  const RowKernels& rows_;
  const std::string isa_;
  std::unique_ptr<Plan> plan_;
  std::vector<Demand> demands_;
  std::vector<Home> homes_;
  std::vector<bool> absorbed_;
  std::vector<Tensor> tables_;
  RowKind step_rows_ = RowKind::kTokens;
};

}  // namespace

Lowered lower(const Graph& graph, Isa isa) {
  try {
    return {Lowering(graph, isa).take(), {}};
  } catch (const CannotPack& problem) {
    return {nullptr, problem.reason};
  }
}

}  // namespace qdqbert::engine
