#include <cstring>
#include <map>

#include <fmt/format.h>

#include "qdqbert/engine/passes/passes.h"

namespace qdqbert::engine {

namespace {

/// Constants up to this size are compared by content: scales, zero points,
/// shapes. Larger ones only by identity.
constexpr size_t kComparedBytes = 8192;

std::string key_of(const Tensor& tensor) {
  std::string key = fmt::format("{}{}:", name_of(tensor.dtype), to_string(tensor.shape));
  key.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  return key;
}

std::string key_of(const Attribute& attribute) {
  if (const auto* tensor = std::get_if<Tensor>(&attribute)) return key_of(*tensor);
  if (const auto* i = std::get_if<int64_t>(&attribute)) return fmt::format("i{}", *i);
  if (const auto* f = std::get_if<float>(&attribute)) return fmt::format("f{:a}", *f);
  if (const auto* s = std::get_if<std::string>(&attribute)) return fmt::format("s{}", *s);
  if (const auto* is = std::get_if<std::vector<int64_t>>(&attribute))
    return fmt::format("I{}", fmt::join(*is, ","));
  return fmt::format("F{:a}", fmt::join(std::get<std::vector<float>>(attribute), ","));
}

}  // namespace

void merge_equal_nodes(Graph& graph) {
  std::vector<ValueId> stands_for(graph.values.size());
  for (ValueId id = 0; id < stands_for.size(); ++id) stands_for[id] = id;
  std::map<std::string, ValueId> constants;
  for (ValueId id = 0; id < graph.values.size(); ++id) {
    const auto& constant = graph.values[id].constant;
    if (constant && constant->bytes.size() <= kComparedBytes)
      stands_for[id] = constants.try_emplace(key_of(*constant), id).first->second;
  }
  std::vector<bool> is_output(graph.values.size(), false);
  for (const ValueId id : graph.outputs) is_output[id] = true;
  std::map<std::string, const Node*> seen;
  for (Node& node : graph.nodes) {
    std::string key = node.op;
    for (ValueId& id : node.inputs) {
      if (id != kNoValue) id = stands_for[id];
      key += fmt::format("|{}", id);
    }
    for (const auto& [name, value] : node.attributes) key += fmt::format("|{}={}", name, key_of(value));
    const auto [entry, is_new] = seen.try_emplace(std::move(key), &node);
    if (is_new || entry->second->outputs.size() != node.outputs.size()) continue;
    for (size_t i = 0; i < node.outputs.size(); ++i)
      if (node.outputs[i] != kNoValue && entry->second->outputs[i] != kNoValue && !is_output[node.outputs[i]])
        stands_for[node.outputs[i]] = entry->second->outputs[i];
  }
  remove_unused(graph);
}

}  // namespace qdqbert::engine
