#include <optional>

#include "qdqbert/engine/reference/liveness.h"
#include "qdqbert/engine/reference/operators.h"

namespace qdqbert::engine::reference {

namespace {

void check_input(const Graph& graph, const Value& value, const Tensor& given) {
  bool fits = !value.dtype || *value.dtype == given.dtype;
  if (value.shape) {
    fits = fits && value.shape->size() == given.shape.size();
    for (size_t d = 0; fits && d < given.shape.size(); ++d)
      fits = (*value.shape)[d] == -1 || (*value.shape)[d] == given.shape[d];
  }
  if (given.bytes.size() != static_cast<size_t>(given.count()) * size_of(given.dtype))
    fail("[onnx] {}: input {} of {}{} has {} bytes", graph.name, value.name, name_of(given.dtype),
         to_string(given.shape), given.bytes.size());
  if (!fits)
    fail("[onnx] {}: input {} is declared as {}{}, given is {}{}", graph.name, value.name,
         value.dtype ? name_of(*value.dtype) : "any type", value.shape ? to_string(*value.shape) : "",
         name_of(given.dtype), to_string(given.shape));
}

}  // namespace

std::vector<std::vector<ValueId>> freed_after(const Graph& graph) {
  constexpr size_t kNever = ~size_t{0};
  std::vector<size_t> last(graph.values.size(), kNever);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    for (const auto* ids : {&graph.nodes[n].inputs, &graph.nodes[n].outputs})
      for (const ValueId id : *ids)
        if (id != kNoValue && !graph.is_constant(id)) last[id] = n;
  }
  for (const ValueId id : graph.outputs) last[id] = kNever;
  std::vector<std::vector<ValueId>> freed(graph.nodes.size());
  for (ValueId id = 0; id < last.size(); ++id)
    if (last[id] != kNever) freed[last[id]].push_back(id);
  return freed;
}

std::vector<Tensor> run(const Graph& graph, std::span<const Tensor> inputs, const Environment& environment) {
  if (inputs.size() != graph.inputs.size())
    fail("[onnx] {}: the graph has {} inputs, {} are given", graph.name, graph.inputs.size(), inputs.size());
  std::vector<std::optional<Tensor>> values(graph.values.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    check_input(graph, graph.values[graph.inputs[i]], inputs[i]);
    values[graph.inputs[i]] = inputs[i];
  }
  const std::vector<std::vector<ValueId>> freed = freed_after(graph);
  const auto read = [&](ValueId id) -> const Tensor& {
    if (values[id]) return *values[id];
    if (!graph.values[id].constant)
      fail("[onnx] {}: value {} is read before it is there", graph.name, graph.values[id].name);
    return *graph.values[id].constant;
  };
  std::vector<const Tensor*> arguments;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    arguments.clear();
    for (const ValueId id : node.inputs) arguments.push_back(id == kNoValue ? nullptr : &read(id));
    std::vector<Tensor> results = evaluate(node, arguments, environment);
    for (size_t i = 0; i < node.outputs.size(); ++i)
      if (node.outputs[i] != kNoValue) values[node.outputs[i]] = std::move(results[i]);
    for (const ValueId id : freed[n]) values[id].reset();
  }
  std::vector<Tensor> outputs;
  for (const ValueId id : graph.outputs) outputs.push_back(read(id));
  return outputs;
}

}  // namespace qdqbert::engine::reference
