#include "qdqbert/engine/passes/probe.h"

#include <algorithm>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/passes/shape_rules.h"
#include "qdqbert/engine/reference/operators.h"

namespace qdqbert::engine {

namespace {

/// Contents beyond this are no shapes, positions or masks of a probe.
constexpr int64_t kFollowedElements = 4096;
/// What computing one of them may take; a hostile file could ask for any amount.
constexpr int64_t kFollowedBytes = 1 << 20;
/// Second axis of multiple-choice inputs.
constexpr int64_t kChoices = 2;

class Run {
 public:
  Run(const Graph& graph, int64_t batch, int64_t length) : graph_(graph) {
    run_.batch = batch;
    run_.length = length;
    run_.sources = length + 4;
    run_.facts.resize(graph.values.size());
    for (ValueId id = 0; id < graph.values.size(); ++id)
      if (const auto& constant = graph.values[id].constant) {
        run_.facts[id].shape = constant->shape;
        if (constant->count() <= kFollowedElements) run_.facts[id].contents = *constant;
      }
    for (const ValueId id : graph.inputs) set_input(id);
    for (const Node& node : graph.nodes) visit(node);
  }
  Probe take() { return std::move(run_); }

 private:
  void set_input(ValueId id) {
    const Value& input = graph_.values[id];
    if (input.name.starts_with("encoder_")) return set_source(id);
    const size_t rank = input.shape ? input.shape->size() : 2;
    if (rank != 2 && rank != 3) return;
    if (rank == 3) run_.batch = run_.batch / kChoices * kChoices;
    Fact& fact = run_.facts[id];
    fact.shape =
        rank == 2 ? Shape{run_.batch, run_.length} : Shape{run_.batch / kChoices, kChoices, run_.length};
    if (input.name.find("mask") == std::string::npos) return;
    run_.mask = mask_of(run_.length);
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
    run_.source_mask = mask_of(run_.sources);
    fact.contents = whole_numbers(input.dtype.value_or(DType::kI64), *fact.shape, run_.source_mask);
  }

  /// The last text is full, each one before it a position shorter.
  std::vector<int64_t> mask_of(int64_t length) const {
    std::vector<int64_t> mask(static_cast<size_t>(run_.batch * length), 1);
    for (int64_t b = 0; b < run_.batch; ++b)
      for (int64_t s = length - (run_.batch - 1 - b); s < length; ++s)
        mask[static_cast<size_t>(b * length + s)] = 0;
    return mask;
  }

  void visit(const Node& node) {
    if (follow(node)) return;
    std::vector<const Fact*> inputs;
    for (const ValueId id : node.inputs) inputs.push_back(id == kNoValue ? nullptr : &run_.facts[id]);
    const std::vector<std::optional<Shape>> shapes = output_shapes(node, inputs);
    for (size_t i = 0; i < node.outputs.size() && i < shapes.size(); ++i)
      if (node.outputs[i] != kNoValue) run_.facts[node.outputs[i]].shape = shapes[i];
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
      outputs = reference::evaluate(node, inputs, {.largest_tensor = kFollowedBytes});
    } catch (const InputError&) {
      return false;  // says so again, and to the user, when the node runs
    }
    for (size_t i = 0; i < outputs.size() && i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      Fact& fact = run_.facts[node.outputs[i]];
      fact.shape = outputs[i].shape;
      if (outputs[i].count() <= kFollowedElements) fact.contents = outputs[i];
    }
    return true;
  }

  const Graph& graph_;
  Probe run_;
};

}  // namespace

Probes probe(const Graph& graph) {
  return {{Run(graph, 2, 5).take(), Run(graph, 4, 7).take()}};
}

namespace {

/// Whether the bias keeps in one run what the kind says.
bool removes(const Probe& run, const Tensor& bias, MaskKind kind) {
  const std::vector<int64_t>& mask = kind == MaskKind::kSources ? run.source_mask : run.mask;
  const int64_t keys = kind == MaskKind::kSources ? run.sources : run.length;
  const Shape& shape = bias.shape;
  if (mask.empty() || shape[3] != keys) return false;
  if (shape[2] != run.length && (shape[2] != 1 || kind == MaskKind::kCausal)) return false;
  const std::span<const float> values = bias.as<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t key = static_cast<int64_t>(i) % keys, query = static_cast<int64_t>(i) / keys % shape[2],
                  text = static_cast<int64_t>(i) / keys / shape[2];
    const bool kept =
        mask[static_cast<size_t>(text * keys + key)] != 0 && (kind != MaskKind::kCausal || key <= query);
    if (kept ? values[i] != 0 : !(values[i] <= -1000.0f)) return false;
  }
  return true;
}

}  // namespace

MaskKind mask_kind(const Probes& probes, ValueId id) {
  for (const MaskKind kind : {MaskKind::kPadding, MaskKind::kCausal, MaskKind::kSources}) {
    bool holds = true;
    for (const Probe& run : probes.runs) {
      const auto& contents = run.facts[id].contents;
      holds = holds && contents && contents->dtype == DType::kF32 && contents->shape.size() == 4 &&
              contents->shape[0] == run.batch && contents->shape[1] == 1 && removes(run, *contents, kind);
    }
    if (holds) return kind;
  }
  return MaskKind::kNone;
}

bool is_distances(const Probes& probes, ValueId id, int64_t positions) {
  for (const Probe& run : probes.runs) {
    const auto& contents = run.facts[id].contents;
    if (!contents || contents->shape != Shape{run.length, run.length} ||
        (contents->dtype != DType::kI64 && contents->dtype != DType::kI32))
      return false;
    const std::vector<int64_t> values = to_int64(contents->view());
    for (size_t i = 0; i < values.size(); ++i) {
      const int64_t query = static_cast<int64_t>(i) / run.length, key = static_cast<int64_t>(i) % run.length;
      if (values[i] != query - key + positions - 1) return false;
    }
  }
  return true;
}

bool is_positions(const Probes& probes, ValueId id) {
  for (const Probe& run : probes.runs) {
    const auto& contents = run.facts[id].contents;
    if (!contents || (contents->dtype != DType::kI64 && contents->dtype != DType::kI32)) return false;
    if (contents->shape.empty() || contents->shape.back() != run.length) return false;
    const std::vector<int64_t> values = to_int64(contents->view());
    for (size_t i = 0; i < values.size(); ++i)
      if (values[i] != static_cast<int64_t>(i) % run.length) return false;
  }
  return true;
}

}  // namespace qdqbert::engine
