#include "qdqbert/engine/reference/operators.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "qdqbert/engine/reference/table.h"

namespace qdqbert::engine::reference {

namespace {

/// More than any activation of a BERT needs.
constexpr int64_t kMostBytes = int64_t{1} << 33;

const std::map<std::string_view, Operator>& table() {
  static const std::map<std::string_view, Operator> all = [] {
    std::map<std::string_view, Operator> made;
    for (const auto& part : {elementwise_operators(), shape_operators(), matrix_operators(), row_operators(),
                             quantization_operators()})
      for (const Operator& op : part) made.emplace(op.name, op);
    return made;
  }();
  return all;
}

}  // namespace

WritableTensor new_tensor(const Node& node, DType dtype, const Shape& shape) {
  int64_t bytes = static_cast<int64_t>(size_of(dtype));
  for (const int64_t size : shape) {
    if (size < 0 || (size > 0 && bytes > kMostBytes / size))
      fail_node(node, "a result of shape {} is more than {} bytes", to_string(shape), kMostBytes);
    bytes *= size;
  }
  return allocate_tensor(dtype, shape);
}

std::vector<int64_t> integers_of(const Node& node, const Tensor& tensor) {
  if (tensor.dtype != DType::kI64 && tensor.dtype != DType::kI32)
    fail_node(node, "an operand of {} where integers are needed", name_of(tensor.dtype));
  return to_int64(tensor.view());
}

Tensor as_float(const Node& node, const Tensor& tensor) {
  if (tensor.dtype == DType::kF32) return tensor;
  if (tensor.dtype != DType::kF16 && tensor.dtype != DType::kBF16 && tensor.dtype != DType::kF64)
    fail_node(node, "an operand of {} where floats are needed", name_of(tensor.dtype));
  return tensor_of(make_tensor(tensor.shape, std::span<const float>(to_float32(tensor.view()))));
}

Tensor like(const Node& node, Tensor result, DType dtype) {
  if (dtype == result.dtype) return result;
  WritableTensor out = new_tensor(node, dtype, result.shape);
  const std::span<const float> values = result.as<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kF16)
      out.as<uint16_t>()[i] = float_to_half(values[i]);
    else if (dtype == DType::kBF16)
      out.as<uint16_t>()[i] = float_to_bfloat16(values[i]);
    else if (dtype == DType::kF64)
      out.as<double>()[i] = static_cast<double>(values[i]);
    else
      fail_node(node, "a result of {} is not computed", name_of(dtype));
  }
  return out.tensor;
}

size_t checked_axis(const Node& node, int64_t axis, size_t rank) {
  const int64_t positive = axis < 0 ? axis + static_cast<int64_t>(rank) : axis;
  if (positive < 0 || positive >= static_cast<int64_t>(rank))
    fail_node(node, "axis {} of an operand with {} axes", axis, rank);
  return static_cast<size_t>(positive);
}

Shape broadcast_shape(const Node& node, const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t left = i < a.size() ? a[a.size() - 1 - i] : 1,
                  right = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (left != right && left != 1 && right != 1)
      fail_node(node, "operands of shapes {} and {} do not fit each other", to_string(a), to_string(b));
    out[out.size() - 1 - i] = left == 1 ? right : left;
  }
  return out;
}

BroadcastIndex::BroadcastIndex(const Shape& from, const Shape& to)
    : size_(to), stride_(to.size(), 0), at_(to.size(), 0) {
  int64_t stride = 1;
  for (size_t i = 0; i < from.size(); ++i) {
    const size_t axis = from.size() - 1 - i;
    if (from[axis] != 1) stride_[to.size() - 1 - i] = stride;
    stride *= from[axis];
  }
}

void BroadcastIndex::advance() {
  for (size_t i = size_.size(); i-- > 0;) {
    index_ += static_cast<size_t>(stride_[i]);
    if (++at_[i] < size_[i]) return;
    index_ -= static_cast<size_t>(stride_[i] * size_[i]);
    at_[i] = 0;
  }
}

std::string unsupported(const Node& node) {
  const auto found = table().find(node.op);
  if (found == table().end()) return fmt::format("the operator {} is not known", node.op);
  if (node.inputs.size() > found->second.most)
    return fmt::format("{} inputs, at most {} are known", node.inputs.size(), found->second.most);
  return {};
}

std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor* const> inputs) {
  const auto found = table().find(node.op);
  if (found == table().end()) fail_node(node, "the operator is not known");
  const Operator& op = found->second;
  if (inputs.size() > op.most) fail_node(node, "{} inputs, at most {} are known", inputs.size(), op.most);
  for (size_t i = 0; i < op.required; ++i)
    if (i >= inputs.size() || !inputs[i]) fail_node(node, "input {} is missing", i);
  return op.evaluate(node, inputs);
}

std::vector<Tensor> run(const Graph& graph, std::span<const Tensor> inputs) {
  if (inputs.size() != graph.inputs.size())
    fail("[onnx] {} has {} inputs, {} are given", graph.name, graph.inputs.size(), inputs.size());
  std::vector<std::optional<Tensor>> values(graph.values.size());
  for (size_t i = 0; i < inputs.size(); ++i) values[graph.inputs[i]] = inputs[i];
  std::vector<size_t> last_reader(graph.values.size(), 0);
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    for (const ValueId id : graph.nodes[n].inputs)
      if (id != kNoValue) last_reader[id] = n;
  for (const ValueId id : graph.outputs) last_reader[id] = graph.nodes.size();
  const auto value_of = [&](ValueId id) -> const Tensor* {
    if (id == kNoValue) return nullptr;
    if (graph.values[id].constant) return &*graph.values[id].constant;
    return values[id] ? &*values[id] : nullptr;
  };
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    std::vector<const Tensor*> operands;
    for (const ValueId id : node.inputs) operands.push_back(value_of(id));
    std::vector<Tensor> results = evaluate(node, operands);
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] == kNoValue) continue;
      if (i >= results.size()) fail_node(node, "output {} is not computed", i);
      values[node.outputs[i]] = std::move(results[i]);
    }
    for (const ValueId id : node.inputs)
      if (id != kNoValue && last_reader[id] == n) values[id].reset();
  }
  std::vector<Tensor> outputs;
  for (const ValueId id : graph.outputs) {
    const Tensor* value = value_of(id);
    if (!value) fail("[onnx] {}: the output {} was not computed", graph.name, graph.values[id].name);
    outputs.push_back(*value);
  }
  return outputs;
}

}  // namespace qdqbert::engine::reference
