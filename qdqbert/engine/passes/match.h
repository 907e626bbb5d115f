// What passes look patterns up with. Valid as long as no pass changes what it has looked at.
#pragma once

#include <cmath>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine {

class Match {
 public:
  explicit Match(Graph& graph) : graph_(graph), index_(graph) {}

  /// The node of one of these operators that produces `id`; null otherwise.
  Node* producer(ValueId id, std::initializer_list<std::string_view> ops) const {
    if (id == kNoValue || index_.producer[id] < 0) return nullptr;
    Node& node = graph_.nodes[static_cast<size_t>(index_.producer[id])];
    for (const std::string_view op : ops)
      if (node.op == op) return &node;
    return nullptr;
  }

  Node& node(uint32_t index) const { return graph_.nodes[index]; }
  const std::vector<uint32_t>& readers(ValueId id) const { return index_.readers[id]; }
  bool is_output(ValueId id) const { return index_.is_output[id]; }
  /// Read once and no output of the graph: may vanish into a fused node.
  bool is_private(ValueId id) const { return index_.readers[id].size() == 1 && !index_.is_output[id]; }

  const Tensor* constant(ValueId id) const {
    return graph_.is_constant(id) ? &*graph_.values[id].constant : nullptr;
  }
  /// A float constant of one element.
  std::optional<float> scalar(ValueId id) const {
    const Tensor* tensor = constant(id);
    if (!tensor || tensor->count() != 1) return std::nullopt;
    if (tensor->dtype != DType::kF32 && tensor->dtype != DType::kF16) return std::nullopt;
    return to_float32(tensor->view())[0];
  }
  bool is_scalar_near(ValueId id, double value) const {
    const std::optional<float> found = scalar(id);
    return found && std::fabs(*found - value) <= 1e-3 * std::fabs(value);
  }
  /// A float constant vector: one axis longer than 1 at most, that one last.
  bool is_vector(ValueId id) const {
    const Tensor* tensor = constant(id);
    return tensor && tensor->dtype == DType::kF32 && !tensor->shape.empty() &&
           tensor->count() == tensor->shape.back();
  }

  /// Splits the two inputs of a commutative node into what `is_other` says and the rest.
  template <class Predicate>
  static std::optional<std::pair<ValueId, ValueId>> split(const Node& node, const Predicate& is_other) {
    if (node.inputs.size() != 2) return std::nullopt;
    if (is_other(node.inputs[1])) return std::pair{node.inputs[0], node.inputs[1]};
    if (is_other(node.inputs[0])) return std::pair{node.inputs[1], node.inputs[0]};
    return std::nullopt;
  }

 private:
  Graph& graph_;
  GraphIndex index_;
};

/// Puts another operator in the place of a node; name and outputs stay.
inline void become(Node& node, std::string op, std::vector<ValueId> inputs,
                   std::map<std::string, Attribute> attributes) {
  node.op = std::move(op);
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);
}

}  // namespace qdqbert::engine
