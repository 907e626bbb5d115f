#include <optional>

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

std::vector<Tensor> run(const Graph& graph, std::span<const Tensor> inputs, const Environment& environment) {
  if (inputs.size() != graph.inputs.size())
    fail("[onnx] {}: the graph has {} inputs, {} are given", graph.name, graph.inputs.size(), inputs.size());
  std::vector<std::optional<Tensor>> values(graph.values.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    check_input(graph, graph.values[graph.inputs[i]], inputs[i]);
    values[graph.inputs[i]] = inputs[i];
  }
  std::vector<uint32_t> reads(graph.values.size(), 0);
  for (const Node& node : graph.nodes)
    for (const ValueId id : node.inputs)
      if (id != kNoValue) ++reads[id];
  for (const ValueId id : graph.outputs) ++reads[id];

  const auto read = [&](ValueId id) -> const Tensor& {
    if (values[id]) return *values[id];
    if (!graph.values[id].constant)
      fail("[onnx] {}: value {} is read before it is there", graph.name, graph.values[id].name);
    return *graph.values[id].constant;
  };
  std::vector<const Tensor*> arguments;
  for (const Node& node : graph.nodes) {
    arguments.clear();
    for (const ValueId id : node.inputs) arguments.push_back(id == kNoValue ? nullptr : &read(id));
    std::vector<Tensor> results = evaluate(node, arguments, environment);
    for (const ValueId id : node.inputs)
      if (id != kNoValue && --reads[id] == 0) values[id].reset();
    for (size_t i = 0; i < node.outputs.size(); ++i)
      if (node.outputs[i] != kNoValue && reads[node.outputs[i]] > 0)
        values[node.outputs[i]] = std::move(results[i]);
  }
  std::vector<Tensor> outputs;
  for (const ValueId id : graph.outputs) outputs.push_back(read(id));
  return outputs;
}

}  // namespace qdqbert::engine::reference
