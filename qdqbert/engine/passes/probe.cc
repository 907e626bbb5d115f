#include "qdqbert/engine/passes/probe.h"

#include <algorithm>
#include <cstring>

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

Tensor integers(Shape shape, const std::vector<int64_t>& values) {
  return tensor_of(make_tensor(std::move(shape), std::span<const int64_t>(values)));
}

class Run {
 public:
  Run(const Graph& graph, int64_t batch, int64_t length) : graph_(graph) {
    run_.batch = batch;
    run_.length = length;
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
    const size_t rank = input.shape ? input.shape->size() : 2;
    if (rank != 2 && rank != 3) return;
    if (rank == 3) run_.batch = run_.batch / kChoices * kChoices;
    Fact& fact = run_.facts[id];
    fact.shape =
        rank == 2 ? Shape{run_.batch, run_.length} : Shape{run_.batch / kChoices, kChoices, run_.length};
    if (input.name.find("mask") == std::string::npos) return;
    // The last text is full, each one before it a position shorter.
    run_.mask.assign(static_cast<size_t>(run_.batch * run_.length), 1);
    for (int64_t b = 0; b < run_.batch; ++b)
      for (int64_t s = run_.length - (run_.batch - 1 - b); s < run_.length; ++s)
        run_.mask[static_cast<size_t>(b * run_.length + s)] = 0;
    Tensor mask = integers(*fact.shape, run_.mask);
    if (input.dtype && *input.dtype != DType::kI64) {
      Node cast{"probe", "Cast", 13, {}, {}, {}};
      const Tensor* in = &mask;
      if (*input.dtype == DType::kI32)
        cast.attributes["to"] = int64_t{6};
      else if (*input.dtype == DType::kF32)
        cast.attributes["to"] = int64_t{1};
      else
        return;
      mask = reference::evaluate(cast, std::span<const Tensor* const>(&in, 1))[0];
    }
    fact.contents = std::move(mask);
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

bool is_mask_bias(const Probes& probes, ValueId id) {
  for (const Probe& run : probes.runs) {
    const auto& contents = run.facts[id].contents;
    if (!contents || contents->dtype != DType::kF32 || run.mask.empty()) return false;
    const Shape& shape = contents->shape;
    if (shape.size() != 4 || shape[0] != run.batch || shape[1] != 1 || shape[3] != run.length) return false;
    if (shape[2] != 1 && shape[2] != run.length) return false;
    const std::span<const float> values = contents->as<float>();
    for (size_t i = 0; i < values.size(); ++i) {
      const auto row = static_cast<int64_t>(i) / (shape[2] * shape[3]);
      const int64_t kept =
          run.mask[static_cast<size_t>(row * run.length + static_cast<int64_t>(i) % run.length)];
      if (kept ? values[i] != 0 : !(values[i] <= -1000.0f)) return false;
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
