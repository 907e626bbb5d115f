#include <algorithm>

#include "qdqbert/engine/passes/match.h"
#include "qdqbert/engine/passes/passes.h"

namespace qdqbert::engine {

namespace {

struct Weight {
  ValueId matrix = kNoValue;
  bool transposed = false;    ///< stored [n, k]
  ValueId scales = kNoValue;  ///< of INT8 codes
};

bool is_swap(const Node& transpose) {
  return transpose.integers("perm", {1, 0}) == std::vector<int64_t>{1, 0};
}

/// Codes of 8 bits with zero points of 0 and a scale for the whole matrix or for each output.
bool has_output_scales(const Match& match, const Node& dequantize, const Tensor& codes, bool transposed) {
  if (codes.dtype != DType::kI8 || codes.shape.size() != 2) return false;
  const Tensor* scales = match.constant(dequantize.inputs[1]);
  if (!scales || scales->dtype != DType::kF32) return false;
  if (dequantize.inputs.size() > 2 && dequantize.inputs[2] != kNoValue) {
    const Tensor* zero = match.constant(dequantize.inputs[2]);
    if (!zero ||
        !std::all_of(zero->bytes.begin(), zero->bytes.end(), [](std::byte b) { return b == std::byte{0}; }))
      return false;
  }
  if (scales->count() == 1) return true;
  const int64_t axis = dequantize.integer("axis", 1);
  return (axis < 0 ? axis + 2 : axis) == (transposed ? 0 : 1);
}

std::optional<Weight> weight_of(const Match& match, ValueId id) {
  Weight weight;
  if (const Node* transpose = match.producer(id, {"Transpose"})) {
    if (!is_swap(*transpose)) return std::nullopt;
    weight.transposed = true;
    id = transpose->inputs[0];
  }
  if (const Node* dequantize = match.producer(id, {"DequantizeLinear"})) {
    const Tensor* codes = match.constant(dequantize->inputs[0]);
    if (!codes || !has_output_scales(match, *dequantize, *codes, weight.transposed)) return std::nullopt;
    weight.matrix = dequantize->inputs[0];
    weight.scales = dequantize->inputs[1];
    return weight;
  }
  const Tensor* values = match.constant(id);
  if (!values || values->dtype != DType::kF32 || values->shape.size() != 2) return std::nullopt;
  weight.matrix = id;
  return weight;
}

/// Puts the linear in the place of `result`, which is the MatMul itself or the Add of its bias.
bool fuse(const Match& match, const Node& matmul, ValueId bias, Node& result) {
  const auto weight = weight_of(match, matmul.inputs[1]);
  if (!weight) return false;
  std::map<std::string, Attribute> attributes{{"transposed", int64_t{weight->transposed}}};
  ValueId x = matmul.inputs[0];
  if (weight->scales == kNoValue) {
    become(result, "qdqbert.Linear", {x, weight->matrix, bias}, std::move(attributes));
    return true;
  }
  const Node* input = match.producer(x, {"qdqbert.FakeQuantize"});
  if (!input) return false;
  attributes["scale"] = input->real("scale", 0);
  become(result, "qdqbert.QuantizedLinear", {input->inputs[0], weight->matrix, weight->scales, bias},
         std::move(attributes));
  return true;
}

}  // namespace

void fuse_linears(Graph& graph) {
  const Match match(graph);
  std::vector<bool> done(graph.values.size(), false);
  for (Node& node : graph.nodes) {
    if (node.op != "Add") continue;
    const auto parts = Match::split(node, [&](ValueId id) { return match.is_vector(id); });
    if (!parts || !match.is_private(parts->first)) continue;
    const Node* matmul = match.producer(parts->first, {"MatMul"});
    if (matmul && fuse(match, *matmul, parts->second, node)) done[parts->first] = true;
  }
  for (Node& node : graph.nodes)
    if (node.op == "MatMul" && !done[node.outputs[0]]) fuse(match, Node(node), kNoValue, node);
  remove_unused(graph);
}

}  // namespace qdqbert::engine
