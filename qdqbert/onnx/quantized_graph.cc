#include "qdqbert/onnx/quantized_graph.h"

#include <algorithm>

namespace qdqbert::onnx {
namespace {

/// Of nodes between an edge and what decides about it; graphs from elsewhere may be cyclic.
constexpr int kLongestPath = 64;
constexpr size_t kMostEdges = 1000;

bool is_one_of(const std::string& op, std::initializer_list<const char*> ops) {
  return std::find(ops.begin(), ops.end(), op) != ops.end();
}

}  // namespace

bool QuantizedGraph::moves_data_only(const std::string& op) {
  return is_one_of(op, {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Gather", "Slice", "Concat", "Split",
                        "Flatten", "Identity"});
}

QuantizedGraph::QuantizedGraph(const Model& model) : index_(model) {
  for (const Node& node : model.proto().graph().node()) {
    const std::string& op = node.op_type();
    const bool folds =
        op == "Constant" || (node.input_size() > 0 &&
                             (moves_data_only(op) ||
                              is_one_of(op, {"QuantizeLinear", "DequantizeLinear", "Cast", "Mul", "Div"})));
    if (folds && std::all_of(node.input().begin(), node.input().end(),
                             [&](const std::string& input) { return input.empty() || is_constant(input); }))
      computed_.insert(node.output().begin(), node.output().end());
  }
}

bool QuantizedGraph::is_factor(const Node& node, int position) const {
  if (node.op_type() != "Mul" && !(node.op_type() == "Div" && position == 0)) return false;
  const auto other = index_.constant(other_input_of(node, position));
  return other && other->count() == 1;
}

std::vector<const Node*> QuantizedGraph::readers(const std::string& edge) const {
  std::vector<const Node*> result = index_.consumers(edge);
  std::erase_if(result, [](const Node* node) { return node->op_type() == "Shape"; });
  return result;
}

std::optional<Dequantized> QuantizedGraph::dequantized(const std::string& edge) const {
  Dequantized found{nullptr};
  std::string at = edge;
  for (int steps = 0; steps < kLongestPath; ++steps) {
    const Node* node = index_.producer(at);
    if (node == nullptr || node->input_size() == 0) return std::nullopt;
    found.shared = found.shared || readers(at).size() > 1 || index_.is_output(at);
    if (node->op_type() == "DequantizeLinear") {
      found.dq = node;
      const std::string& codes = input_of(*node, 0);
      found.shared = found.shared || readers(codes).size() > 1 || index_.is_output(codes);
      return found;
    }
    int position = 0;
    if (!moves_data_only(node->op_type())) {
      while (position < node->input_size() && !is_factor(*node, position)) ++position;
      if (position == node->input_size()) return std::nullopt;
      found.scaled = true;
    }
    found.transposed ^= node->op_type() == "Transpose";
    at = input_of(*node, position);
  }
  return std::nullopt;
}

std::vector<Use> QuantizedGraph::users(const std::string& edge) const {
  std::vector<Use> result;
  std::vector<std::string> edges = {edge};
  for (size_t i = 0; i < edges.size() && edges.size() < kMostEdges; ++i) {
    const std::string from = edges[i];
    for (const Node* node : readers(from)) {
      const auto place = std::find(node->input().begin(), node->input().end(), from);
      const int position = static_cast<int>(place - node->input().begin());
      if (moves_data_only(node->op_type()) || is_factor(*node, position)) {
        edges.insert(edges.end(), node->output().begin(), node->output().end());
      } else {
        result.push_back({node, position});
      }
    }
  }
  return result;
}

const Node* QuantizedGraph::quantizer_behind(const Node& node) const {
  const Node* at = &node;
  for (int steps = 0; steps < kLongestPath; ++steps) {
    const std::string& edge = output_of(*at);
    const std::vector<const Node*> found = readers(edge);
    if (found.size() != 1 || index_.is_output(edge)) return nullptr;
    if (is_op(found[0], "QuantizeLinear")) return input_of(*found[0], 0) == edge ? found[0] : nullptr;
    if (!moves_data_only(found[0]->op_type())) return nullptr;
    at = found[0];
  }
  return nullptr;
}

int64_t QuantizedGraph::scales_of(const Node& node) const {
  const auto scale = index_.constant(input_of(node, 1));
  return scale ? scale->count() : 1;
}

std::optional<int64_t> QuantizedGraph::last_of_shape(const std::string& shape) const {
  if (const auto whole = index_.constant(shape); whole && whole->dtype == DType::kI64 && whole->count() > 0)
    return to_int64(*whole).back();
  const Node* node = index_.producer(shape);
  for (int steps = 0; node != nullptr && steps < kLongestPath; ++steps) {
    if (!is_one_of(node->op_type(), {"Concat", "Unsqueeze", "Cast", "Identity", "Reshape"}) ||
        node->input_size() == 0)
      return std::nullopt;
    const std::string& last = input_of(*node, node->op_type() == "Concat" ? node->input_size() - 1 : 0);
    if (const auto part = index_.constant(last); part && part->dtype == DType::kI64 && part->count() > 0)
      return to_int64(*part).back();
    node = index_.producer(last);
  }
  return std::nullopt;
}

std::optional<int64_t> QuantizedGraph::last_dimension(const std::string& edge) const {
  std::string at = edge;
  // Where a transposition moves the last dimension from, as long as it is one of
  // heads, [batch, heads, tokens, size].
  for (int steps = 0; steps < kLongestPath; ++steps) {
    const Node* node = index_.producer(at);
    if (node == nullptr || node->input_size() == 0) return std::nullopt;
    if (node->op_type() == "Reshape") {
      const auto size = last_of_shape(input_of(*node, 1));
      return size && *size > 0 ? size : std::nullopt;
    }
    int position = 0;
    while (position < node->input_size() && is_constant(input_of(*node, position))) ++position;
    if (!moves_data_only(node->op_type()) &&
        !is_one_of(node->op_type(), {"QuantizeLinear", "DequantizeLinear", "Mul", "Div", "Cast"}))
      return std::nullopt;
    at = input_of(*node, position < node->input_size() ? position : 0);
  }
  return std::nullopt;
}

}  // namespace qdqbert::onnx
