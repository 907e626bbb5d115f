#include "qdqbert/engine/reference/operators.h"

#include <string_view>
#include <unordered_map>

#include "qdqbert/engine/float_control.h"
#include "qdqbert/engine/reference/call.h"

namespace qdqbert::engine::reference {

namespace {

/// Versions of the standard domain whose meaning the functions know.
constexpr int64_t kFirstOpset = 11, kLastOpset = 26;

const std::unordered_map<std::string_view, const Operator*>& table() {
  static const auto all = [] {
    std::unordered_map<std::string_view, const Operator*> rows;
    for (const auto family :
         {arithmetic_operators(), comparison_operators(), unary_operators(), activation_operators(),
          shape_operators(), movement_operators(), gather_operators(), search_operators(), pad_operators(),
          generator_operators(), matmul_operators(), einsum_operators(), reduction_operators(),
          normalization_operators(), quantization_operators(), integer_matmul_operators(),
          quantized_elementwise_operators(), cast_operators()})
      for (const Operator& row : family) rows.emplace(row.name, &row);
    return rows;
  }();
  return all;
}

bool is_half(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16;
}
bool is_floating(DType dtype) {
  return is_half(dtype) || dtype == DType::kF32 || dtype == DType::kF64;
}

Tensor widened(const Call& call, const Tensor& tensor) {
  WritableTensor out = call.allocate(DType::kF32, tensor.shape);
  const auto from = tensor.as<uint16_t>();
  float* to = out.as<float>();
  const bool brain = tensor.dtype == DType::kBF16;
  for (size_t i = 0; i < from.size(); ++i)
    to[i] = brain ? bfloat16_to_float(from[i]) : half_to_float(from[i]);
  return out.tensor;
}

Tensor narrowed(const Call& call, const Tensor& tensor, DType dtype) {
  WritableTensor out = call.allocate(dtype, tensor.shape);
  const auto from = tensor.as<float>();
  auto* to = out.as<uint16_t>();
  const bool brain = dtype == DType::kBF16;
  for (size_t i = 0; i < from.size(); ++i)
    to[i] = brain ? float_to_bfloat16(from[i]) : float_to_half(from[i]);
  return out.tensor;
}

std::vector<Tensor> in_float32(const Call& call, const Operator& row) {
  std::optional<DType> floating;
  std::vector<Tensor> wide(call.inputs.size());
  std::vector<const Tensor*> inputs(call.inputs.begin(), call.inputs.end());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i]) continue;
    if (!floating && is_floating(inputs[i]->dtype)) floating = inputs[i]->dtype;
    if (!is_half(inputs[i]->dtype)) continue;
    wide[i] = widened(call, *inputs[i]);
    inputs[i] = &wide[i];
  }
  std::vector<Tensor> outputs = row.function({call.node, inputs, call.environment});
  if (!floating || !is_half(*floating)) return outputs;
  const size_t narrow = row.half == Half::kWidenFirst ? std::min<size_t>(1, outputs.size()) : outputs.size();
  for (size_t i = 0; i < narrow; ++i)
    if (outputs[i].dtype == DType::kF32) outputs[i] = narrowed(call, outputs[i], *floating);
  return outputs;
}

}  // namespace

std::string unsupported(const Node& node) {
  const auto found = table().find(node.op);
  if (found == table().end()) return fmt::format("operator {} is not known", node.op);
  const bool standard = node.op.find('.') == std::string::npos;
  if (standard && (node.opset < kFirstOpset || node.opset > kLastOpset))
    return fmt::format("operator set {} is not among {} to {}", node.opset, kFirstOpset, kLastOpset);
  const Operator& row = *found->second;
  if (node.inputs.size() < row.inputs)
    return fmt::format("{} inputs are needed, the node has {}", row.inputs, node.inputs.size());
  return row.check ? row.check(node) : std::string();
}

std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor* const> inputs,
                             const Environment& environment) {
  const StandardFloatControl standard;
  const Call call{node, inputs, environment};
  if (const std::string reason = unsupported(node); !reason.empty()) call.refuse("{}", reason);
  const Operator& row = *table().find(node.op)->second;
  bool any_half = false;
  for (const Tensor* tensor : inputs) {
    if (!tensor) continue;
    any_half |= is_half(tensor->dtype);
  }
  std::vector<Tensor> outputs =
      any_half && row.half != Half::kAsIs ? in_float32(call, row) : row.function(call);
  for (size_t i = outputs.size(); i < node.outputs.size(); ++i)
    if (call.wants(i)) call.refuse("there is no output {}", i);
  outputs.resize(node.outputs.size());
  return outputs;
}

}  // namespace qdqbert::engine::reference
