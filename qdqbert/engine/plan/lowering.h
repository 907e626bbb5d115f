// The planner's work in progress: what every value is wanted as, where it lies, which nodes share
// a step. Its parts are in lower.cc (what belongs together), lower_integer.cc, lower_rows.cc
// (everything in float) and lower_heads.cc.
#pragma once

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "qdqbert/engine/float/linear.h"
#include "qdqbert/engine/kernels/select.h"
#include "qdqbert/engine/passes/match.h"
#include "qdqbert/engine/passes/probe.h"
#include "qdqbert/engine/plan/lower.h"
#include "qdqbert/engine/plan/steps.h"

namespace qdqbert::engine {

/// Thrown by the planner's parts and caught by lower().
struct CannotPack {
  std::string reason;
  bool follows = false;  ///< from another node that has no step
};

template <class... Args>
[[noreturn]] void cannot(const Node& node, fmt::format_string<Args...> format, Args&&... args) {
  throw CannotPack{
      fmt::format("{} ({}): {}", node.name, node.op, fmt::format(format, std::forward<Args>(args)...))};
}

inline size_t round_up_to(size_t a, size_t b) {
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

inline Activation activation_of(const Node& node) {
  const std::string kind = node.text("kind", "");
  if (kind == "gelu") return Activation::kGelu;
  if (kind == "gelu_tanh") return Activation::kGeluTanh;
  if (kind == "relu") return Activation::kRelu;
  if (kind == "silu") return Activation::kSilu;
  if (kind == "tanh") return Activation::kTanh;
  if (kind == "sigmoid") return Activation::kSigmoid;
  if (kind == "quick_gelu") return Activation::kQuickGelu;
  if (kind == "mish") return Activation::kMish;
  if (kind == "laplace") return Activation::kLaplace;
  if (kind == "leaky_relu") return Activation::kLeakyRelu;
  if (kind == "relu2") return Activation::kRelu2;
  cannot(node, "no kernel for {}", kind);
}

class Lowering {
 public:
  Lowering(const Graph& graph, Isa isa, Precision precision)
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
    const bool quantized = std::any_of(graph.nodes.begin(), graph.nodes.end(),
                                       [](const Node& node) { return node.op == "qdqbert.QuantizedLinear"; });
    integer_ = quantized && precision == Precision::kAuto;
    matmul_ =
        precision == Precision::kBFloat16 ? products::Precision::kBFloat16 : products::Precision::kFloat32;
  }

  std::unique_ptr<Plan> take();

 private:
  // ---- what belongs together

  size_t index_of(const Node& node) const { return static_cast<size_t>(&node - graph_.nodes.data()); }

  void check_inputs();

  /// Rows of encoder_hidden_states, where a cross-attention reads them.
  void make_sources();

  const Node* private_producer(ValueId id, std::initializer_list<std::string_view> ops) const {
    return match_.is_private(id) ? match_.producer(id, ops) : nullptr;
  }

  /// Marks nodes that become part of their reader's step.
  void absorb(const Node& node);

  const Node* absorbed_producer(ValueId id) const {
    const Node* producer =
        match_.producer(id, {"qdqbert.QuantizedLinear", "qdqbert.Linear", "qdqbert.Embeddings"});
    return producer && absorbed_[index_of(*producer)] ? producer : nullptr;
  }

  /// Query, key and value projections of one input, which fit into one GEMM; else nothing.
  std::vector<const Node*> shared_projections(const Node& attention) const;

  bool is_integer(const Node& attention) const {
    if (!integer_) return false;
    for (const char* scale : {"q_scale", "k_scale", "p_scale", "v_scale"})
      if (!(attention.real(scale, 0) > 0)) return false;
    return true;
  }

  const Tensor& constant(ValueId id) const { return *graph_.values[id].constant; }

  size_t weight_columns(const Node& linear) const {
    return static_cast<size_t>(constant(linear.inputs[1]).shape[linear.integer("transposed", 0) ? 0 : 1]);
  }

  // ---- demands

  void ask(const Node& node);

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
  /// Long rows are an odd number of cache lines apart, so that those of one tile fall into different sets.
  Stored new_codes(RowKind rows, size_t columns) {
    const size_t padded = padded_k(columns);
    const size_t ld = padded >= 1024 && padded / 64 % 2 == 0 ? padded + 64 : padded;
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
      throw CannotPack{fmt::format("{} ({}): its input {} has no rows of tokens or texts", node.name, node.op,
                                   graph_.values[id].name),
                       true};
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
  void add_quantizers(const Node& node, ValueId id, bool with_flipped);

  PlanStep what(const Node& node, std::string kind, std::string kernel = {}) const {
    PlanStep info;
    info.name = node.name;
    info.kind = std::move(kind);
    info.kernel = kernel.empty() ? rows_.name : std::move(kernel);
    return info;
  }

  // ---- steps

  void make(const Node& node);

  LinearPart part_of(const Node& linear) const;

  PackedLinear pack(const Node& linear) const;

  /// `node` gives the step its result: the linear itself or the activation behind it.
  void make_linear(const Node& linear, const Node* activation);

  static std::vector<float> padded(const Tensor& values, size_t to) {
    const std::span<const float> given = values.as<float>();
    std::vector<float> out(round_up_to(to, 16), 0.0f);
    std::copy(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(std::min(given.size(), to)),
              out.begin());
    return out;
  }

  /// Whether the axis of a LayerNormalization is the last.
  bool is_over_columns(const Node& norm) const;
  void check_norm(const Node& node, size_t gamma, size_t columns, size_t copies) const;

  void make_residual_norm(const Node& node);

  void make_attention(const Node& node);
  /// Checks the table's width, and bounds texts by its positions.
  const Tensor& distance_table(const Node& attention);
  DistanceTerms distance_terms(const Node& attention);

  void make_norm(const Node& node);

  void make_embeddings(const Node& node);

  void set_tables(const Node& node, EmbeddingsStep& step, size_t hidden);

  void make_activation(const Node& node);

  /// `activation` may be null. Of a quantized linear: codes times scales, and a fake-quantized input.
  void make_float_linear(const Node& linear, const Node* activation);
  std::unique_ptr<Step> exact_linear(const Node& linear, PlanStep info, Stored input, Stored output,
                                     size_t n);
  std::unique_ptr<Step> fast_linear(const Node& linear, PlanStep info, Stored input, Stored output,
                                    const Node* activation);
  void make_add_norm(const Node& node);
  void make_float_attention(const Node& node);
  void make_fake_quantize(const Node& node);
  /// The value in float, rounded to codes of `scale` and back; as it is for scale 0. Computed once per scale.
  Stored fake_quantized(const Node& node, ValueId id, float scale);

  /// Position 0 of every text: [B, S, H] to [B, H] or [B, 1, H].
  void make_first_token(const Node& node);

  void make_wanted_rows(const Node& node);

  void make_split(const Node& node);

  void make_squeeze(const Node& node);

  /// [B * C, 1] to [B, C].
  void make_choices(const Node& node);

  /// What run() gives an output that is not by_choices, for a probe's batch.
  Shape shape_of(const PlanOutput& output, const Probe& run) const;
  void add_output(ValueId id);

  Graph& graph_;
  const Match match_;
  const Probes probes_;
  const GemmS8Kernel& gemm_;
  const RowKernels& rows_;
  const std::string isa_;
  std::unique_ptr<Plan> plan_;
  bool integer_ = false;  ///< else everything in float, Q/DQ pairs included
  products::Precision matmul_ = products::Precision::kFloat32;
  std::map<std::pair<ValueId, float>, Stored> fake_quantized_;
  std::vector<Demand> demands_;
  std::vector<Home> homes_;
  std::vector<bool> absorbed_;
  std::vector<Tensor> tables_;
  RowKind step_rows_ = RowKind::kTokens;
  bool all_causal_ = true;  ///< every attention among the tokens, and by integer kernels
};

}  // namespace qdqbert::engine
