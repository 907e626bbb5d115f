#include <algorithm>

#include "qdqbert/engine/passes/passes.h"

namespace qdqbert::engine {

namespace {

// TensorProto element types.
constexpr int64_t kFloat = 1, kHalf = 10, kBFloat = 16;

}  // namespace

void widen_half(Graph& graph) {
  for (Value& value : graph.values) {
    if (!value.constant) continue;
    const DType dtype = value.constant->dtype;
    if (dtype != DType::kF16 && dtype != DType::kBF16) continue;
    const std::vector<float> wide = to_float32(value.constant->view());
    value.constant = tensor_of(make_tensor(value.constant->shape, std::span<const float>(wide)));
  }
  for (Node& node : graph.nodes) {
    if (node.op != "Cast") continue;
    const int64_t to = node.integer("to", 0);
    if (to == kHalf || to == kBFloat) node.attributes["to"] = kFloat;
  }
}

}  // namespace qdqbert::engine
