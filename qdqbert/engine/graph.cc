#include "qdqbert/engine/graph.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/math.h"

namespace qdqbert::engine {

namespace {

template <class T>
const T* find_attribute(const Node& node, std::string_view name) {
  const auto found = node.attributes.find(std::string(name));
  if (found == node.attributes.end()) return nullptr;
  const T* value = std::get_if<T>(&found->second);
  if (!value)
    fail("[graph] {} ({}): attribute {} has a type that was not expected", node.name, node.op, name);
  return value;
}

std::string to_text(const Attribute& attribute) {
  if (const auto* i = std::get_if<int64_t>(&attribute)) return fmt::format("{}", *i);
  if (const auto* f = std::get_if<float>(&attribute)) return fmt::format("{}", *f);
  if (const auto* s = std::get_if<std::string>(&attribute)) return fmt::format("\"{}\"", *s);
  if (const auto* is = std::get_if<std::vector<int64_t>>(&attribute)) return to_string(*is);
  if (const auto* fs = std::get_if<std::vector<float>>(&attribute))
    return fmt::format("[{}]", fmt::join(*fs, ", "));
  const auto& t = std::get<Tensor>(attribute);
  return fmt::format("<{}{}>", name_of(t.dtype), to_string(t.shape));
}

}  // namespace

WritableTensor allocate_tensor(DType dtype, Shape shape) {
  const size_t bytes = static_cast<size_t>(element_count(shape)) * size_of(dtype);
  auto* data = static_cast<std::byte*>(std::aligned_alloc(64, std::max<size_t>(round_up(bytes, 64), 64)));
  if (!data) throw std::bad_alloc();
  std::shared_ptr<const void> owner(data, [](const void* p) { std::free(const_cast<void*>(p)); });
  return {{dtype, std::move(shape), {data, bytes}, std::move(owner)}, data};
}

Tensor tensor_of(const OwnedTensor& values) {
  WritableTensor copy = allocate_tensor(values.dtype, values.shape);
  if (!values.data.empty()) std::memcpy(copy.data, values.data.data(), values.data.size());
  return copy.tensor;
}

std::optional<Tensor> whole_numbers(DType dtype, const Shape& shape, std::span<const int64_t> values) {
  if (dtype != DType::kI64 && dtype != DType::kI32 && dtype != DType::kF32 && dtype != DType::kBool)
    return std::nullopt;
  WritableTensor made = allocate_tensor(dtype, shape);
  if (dtype == DType::kI64)
    std::copy(values.begin(), values.end(), made.as<int64_t>());
  else if (dtype == DType::kI32)
    std::copy(values.begin(), values.end(), made.as<int32_t>());
  else if (dtype == DType::kBool)
    std::transform(values.begin(), values.end(), made.as<bool>(), [](int64_t value) { return value != 0; });
  else
    std::copy(values.begin(), values.end(), made.as<float>());
  return made.tensor;
}

int64_t Node::integer(std::string_view attribute, int64_t otherwise) const {
  const auto* value = find_attribute<int64_t>(*this, attribute);
  return value ? *value : otherwise;
}
float Node::real(std::string_view attribute, float otherwise) const {
  const auto* value = find_attribute<float>(*this, attribute);
  return value ? *value : otherwise;
}
std::string Node::text(std::string_view attribute, std::string_view otherwise) const {
  const auto* value = find_attribute<std::string>(*this, attribute);
  return value ? *value : std::string(otherwise);
}
std::vector<int64_t> Node::integers(std::string_view attribute, std::vector<int64_t> otherwise) const {
  const auto* value = find_attribute<std::vector<int64_t>>(*this, attribute);
  return value ? *value : std::move(otherwise);
}

ValueId Graph::add_value(std::string value_name) {
  values.push_back({std::move(value_name), std::nullopt, std::nullopt, std::nullopt});
  return static_cast<ValueId>(values.size() - 1);
}

ValueId Graph::add_constant(std::string value_name, Tensor tensor) {
  const ValueId id = add_value(std::move(value_name));
  values[id].constant = std::move(tensor);
  return id;
}

GraphIndex::GraphIndex(const Graph& graph)
    : producer(graph.values.size(), -1), readers(graph.values.size()), is_output(graph.values.size(), false) {
  for (uint32_t n = 0; n < graph.nodes.size(); ++n) {
    for (const ValueId in : graph.nodes[n].inputs)
      if (in != kNoValue) readers[in].push_back(n);
    for (const ValueId out : graph.nodes[n].outputs)
      if (out != kNoValue) producer[out] = static_cast<int32_t>(n);
  }
  for (const ValueId out : graph.outputs) is_output[out] = true;
}

void remove_unused(Graph& graph) {
  std::vector<bool> used(graph.values.size(), false);
  for (const ValueId id : graph.outputs) used[id] = true;
  std::vector<bool> keep(graph.nodes.size(), false);
  for (size_t n = graph.nodes.size(); n-- > 0;) {
    const Node& node = graph.nodes[n];
    keep[n] = std::any_of(node.outputs.begin(), node.outputs.end(),
                          [&](ValueId id) { return id != kNoValue && used[id]; });
    if (!keep[n]) continue;
    for (const ValueId id : node.inputs)
      if (id != kNoValue) used[id] = true;
    for (const ValueId id : node.outputs)
      if (id != kNoValue) used[id] = true;
  }
  for (const ValueId id : graph.inputs) used[id] = true;

  std::vector<ValueId> renumbered(graph.values.size(), kNoValue);
  std::vector<Value> values;
  for (size_t id = 0; id < graph.values.size(); ++id) {
    if (!used[id]) continue;
    renumbered[id] = static_cast<ValueId>(values.size());
    values.push_back(std::move(graph.values[id]));
  }
  graph.values = std::move(values);
  std::vector<Node> nodes;
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (keep[n]) nodes.push_back(std::move(graph.nodes[n]));
  graph.nodes = std::move(nodes);
  const auto renumber = [&](std::vector<ValueId>& ids) {
    for (ValueId& id : ids)
      if (id != kNoValue) id = renumbered[id];
  };
  for (Node& node : graph.nodes) {
    renumber(node.inputs);
    renumber(node.outputs);
  }
  renumber(graph.inputs);
  renumber(graph.outputs);
}

std::string to_text(const Graph& graph) {
  const auto name = [&](ValueId id) -> std::string {
    if (id == kNoValue) return "-";
    const Value& value = graph.values[id];
    if (!value.constant) return value.name;
    return fmt::format("{}<{}{}>", value.name, name_of(value.constant->dtype),
                       to_string(value.constant->shape));
  };
  const auto names = [&](const std::vector<ValueId>& ids) {
    std::vector<std::string> all;
    for (const ValueId id : ids) all.push_back(name(id));
    return fmt::format("{}", fmt::join(all, ", "));
  };
  std::string text = fmt::format("inputs {}\n", names(graph.inputs));
  for (const Node& node : graph.nodes) {
    text += fmt::format("{} = {}({})", names(node.outputs), node.op, names(node.inputs));
    std::vector<std::string> attributes;
    for (const auto& [key, value] : node.attributes)
      attributes.push_back(fmt::format("{}={}", key, to_text(value)));
    if (!attributes.empty()) text += fmt::format(" {{{}}}", fmt::join(attributes, " "));
    text += '\n';
  }
  return text + fmt::format("outputs {}\n", names(graph.outputs));
}

}  // namespace qdqbert::engine
