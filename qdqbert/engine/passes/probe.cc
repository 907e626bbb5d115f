#include "qdqbert/engine/passes/probe.h"

#include <algorithm>
#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/name_inputs.h"
#include "qdqbert/engine/passes/shape_rules.h"
#include "qdqbert/engine/reference/operators.h"

namespace qdqbert::engine {

namespace {

class Run {
 public:
  Run(const Graph& graph, Probe question, const Following& following)
      : graph_(graph), following_(following), run_(std::move(question)) {
    run_.facts.resize(graph.values.size());
    for (ValueId id = 0; id < graph.values.size(); ++id)
      if (const auto& constant = graph.values[id].constant) {
        run_.facts[id].shape = constant->shape;
        if (constant->count() <= following_.elements || wants(id)) run_.facts[id].contents = *constant;
      }
    for (const ValueId id : graph.inputs) set_input(id);
    for (const Node& node : graph.nodes) visit(node);
  }
  Probe take() { return std::move(run_); }

 private:
  bool wants(ValueId id) const { return following_.wanted && (*following_.wanted)[id]; }

  void set_input(ValueId id) {
    const Value& input = graph_.values[id];
    if (input.name.starts_with("encoder_")) return set_source(id);
    const size_t rank = input.shape ? input.shape->size() : 2;
    Fact& fact = run_.facts[id];
    if (input.name == "position_ids") {
      fact.contents = position_ids(input, run_.batch, run_.choices, run_.length);
      if (fact.contents) fact.shape = fact.contents->shape;
      return;
    }
    if (rank != 2 && rank != 3) return;
    fact.shape = rank == 2 ? Shape{run_.batch, run_.length}
                           : Shape{run_.batch / run_.choices, run_.choices, run_.length};
    if (input.name.find("mask") == std::string::npos) return;
    fact.contents = whole_numbers(input.dtype.value_or(DType::kI64), *fact.shape, run_.mask);
  }

  /// What a cross-attention reads.
  void set_source(ValueId id) {
    const Value& input = graph_.values[id];
    const size_t rank = input.shape ? input.shape->size() : 0;
    Fact& fact = run_.facts[id];
    if (rank == 3 && input.shape->back() > 0)
      fact.shape = Shape{run_.batch, run_.sources, input.shape->back()};
    if (rank != 2 || input.name.find("mask") == std::string::npos) return;
    fact.shape = Shape{run_.batch, run_.sources};
    fact.contents = whole_numbers(input.dtype.value_or(DType::kI64), *fact.shape, run_.source_mask);
  }

  void visit(const Node& node) {
    std::vector<const Fact*> inputs;
    for (const ValueId id : node.inputs) inputs.push_back(id == kNoValue ? nullptr : &run_.facts[id]);
    const std::vector<std::optional<Shape>> shapes = output_shapes(node, inputs);
    if (!is_large(node, shapes) && follow(node)) return;
    for (size_t i = 0; i < node.outputs.size() && i < shapes.size(); ++i)
      if (node.outputs[i] != kNoValue) run_.facts[node.outputs[i]].shape = shapes[i];
  }

  /// Whether the contents would not be kept.
  bool is_large(const Node& node, const std::vector<std::optional<Shape>>& shapes) const {
    for (const ValueId id : node.outputs)
      if (id != kNoValue && wants(id)) return false;
    return !shapes.empty() && shapes[0] && element_count(*shapes[0]) > following_.elements;
  }

  /// Computes the node when all that it reads is known and small.
  bool follow(const Node& node) {
    std::vector<Tensor> stand_ins;  // Shape reads sizes only
    std::vector<const Tensor*> inputs;
    stand_ins.reserve(node.inputs.size());
    for (const ValueId id : node.inputs) {
      if (id == kNoValue) {
        inputs.push_back(nullptr);
        continue;
      }
      const Fact& fact = run_.facts[id];
      if (fact.contents) {
        inputs.push_back(&*fact.contents);
      } else if (node.op == "Shape" && fact.shape) {
        stand_ins.push_back(Tensor{DType::kI64, *fact.shape, {}, nullptr});
        inputs.push_back(&stand_ins.back());
      } else {
        return false;
      }
    }
    if (!reference::unsupported(node).empty()) return false;
    std::vector<Tensor> outputs;
    try {
      outputs = reference::evaluate(node, inputs, {.largest_tensor = following_.bytes});
    } catch (const InputError&) {
      return false;  // says so again, and to the user, when the node runs
    }
    for (size_t i = 0; i < outputs.size() && i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      Fact& fact = run_.facts[node.outputs[i]];
      fact.shape = outputs[i].shape;
      if (outputs[i].count() <= following_.elements || wants(node.outputs[i])) fact.contents = outputs[i];
    }
    return true;
  }

  const Graph& graph_;
  const Following& following_;
  Probe run_;
};

/// The last text is full, each one before it a position shorter.
std::vector<int64_t> stairs(int64_t batch, int64_t length) {
  std::vector<int64_t> mask(static_cast<size_t>(batch * length), 1);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t s = length - (batch - 1 - b); s < length; ++s) mask[static_cast<size_t>(b * length + s)] = 0;
  return mask;
}

Probe question(int64_t batch, int64_t length, int64_t choices) {
  Probe asked;
  asked.batch = batch;
  asked.length = length;
  asked.choices = choices;
  asked.sources = length + 4;
  asked.mask = stairs(batch, length);
  asked.source_mask = stairs(batch, asked.sources);
  return asked;
}

}  // namespace

Probes probe(const Graph& graph) {
  return {{Run(graph, question(2, 5, 2), {}).take(), Run(graph, question(6, 7, 3), {}).take()}};
}

Probe probe(const Graph& graph, Probe question, const Following& following) {
  return Run(graph, std::move(question), following).take();
}

bool removes(const Probe& run, ValueId id, Assumption::Kind kind, bool all_queries) {
  const auto& bias = run.facts[id].contents;
  if (!bias || bias->dtype != DType::kF32 || bias->shape.size() != 4) return false;
  const bool sources = kind == Assumption::Kind::kSources, causal = kind == Assumption::Kind::kCausal;
  const std::vector<int64_t>& mask = sources ? run.source_mask : run.mask;
  const int64_t keys = sources ? run.sources : run.length, rows = bias->shape[2];
  if (bias->shape[0] != run.batch || bias->shape[1] != 1 || bias->shape[3] != keys || mask.empty())
    return false;
  if (rows != run.length && (rows != 1 || causal)) return false;
  const float* row = bias->as<float>().data();
  for (int64_t text = 0; text < run.batch; ++text)
    for (int64_t query = 0; query < rows; ++query, row += keys) {
      if (!all_queries && rows == run.length && run.mask[static_cast<size_t>(text * rows + query)] == 0) {
        // A row of nothing but -inf would be NaN, which spreads to other tokens.
        if (!std::any_of(row, row + keys, [](float value) { return value > -INFINITY && value < INFINITY; }))
          return false;
        continue;
      }
      for (int64_t key = 0; key < keys; ++key) {
        const bool kept = mask[static_cast<size_t>(text * keys + key)] != 0 && (!causal || key <= query);
        if (kept ? row[key] != 0 : !(row[key] <= -1000.0f)) return false;
      }
    }
  return true;
}

std::optional<Assumption::Kind> mask_kind(const Probes& probes, ValueId id) {
  for (const auto kind : {Assumption::Kind::kPadding, Assumption::Kind::kCausal, Assumption::Kind::kSources})
    if (in_both(probes, [&](const Probe& run) { return removes(run, id, kind, false); })) return kind;
  return std::nullopt;
}

bool is_distances(const Probe& run, ValueId id, int64_t positions) {
  const auto& contents = run.facts[id].contents;
  if (!contents || contents->shape != Shape{run.length, run.length} ||
      (contents->dtype != DType::kI64 && contents->dtype != DType::kI32))
    return false;
  const std::vector<int64_t> values = to_int64(contents->view());
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t query = static_cast<int64_t>(i) / run.length, key = static_cast<int64_t>(i) % run.length;
    if (values[i] != query - key + positions - 1) return false;
  }
  return true;
}

bool is_positions(const Probe& run, ValueId id) {
  const auto& contents = run.facts[id].contents;
  if (!contents || (contents->dtype != DType::kI64 && contents->dtype != DType::kI32)) return false;
  if (contents->shape.empty() || contents->shape.back() != run.length) return false;
  const std::vector<int64_t> values = to_int64(contents->view());
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] != static_cast<int64_t>(i) % run.length) return false;
  return true;
}

bool is_zeros(const Probe& run, ValueId id) {
  const auto& contents = run.facts[id].contents;
  if (!contents || (contents->dtype != DType::kI64 && contents->dtype != DType::kI32)) return false;
  const std::vector<int64_t> values = to_int64(contents->view());
  return std::all_of(values.begin(), values.end(), [](int64_t value) { return value == 0; });
}

}  // namespace qdqbert::engine
