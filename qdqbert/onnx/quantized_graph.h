// Questions about Q/DQ pairs in a graph that the lint asks: what is behind
// a DequantizeLinear, what before a product.
#pragma once

#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "qdqbert/onnx/graph_index.h"

namespace qdqbert::onnx {

using Node = ::onnx::NodeProto;

/// A node and which of its inputs is meant.
struct Use {
  const Node* node;
  int position;
};

/// Where a dequantized value comes from.
struct Dequantized {
  const Node* dq;
  bool scaled = false;      ///< a factor stands between DQ and reader
  bool transposed = false;  ///< an odd number of transpositions does
  bool shared = false;      ///< others read the codes or the dequantized value too, or it is an output
};

class QuantizedGraph {
 public:
  explicit QuantizedGraph(const Model& model);
  const GraphIndex& index() const { return index_; }

  static bool is_op(const Node* node, std::string_view op) {
    return node != nullptr && node->op_type() == op;
  }
  /// Reshape, Transpose, Concat, ...
  static bool moves_data_only(const std::string& op);

  /// An initializer, or computed from nothing else.
  bool is_constant(const std::string& edge) const {
    return index_.is_initializer(edge) || computed_.contains(edge);
  }
  /// Nodes that read what is on an edge, and not its shape alone.
  std::vector<const Node*> readers(const std::string& edge) const;
  /// The DQ that `edge` comes from, through operators that move data and
  /// factors that are one constant number.
  std::optional<Dequantized> dequantized(const std::string& edge) const;
  /// Readers of `edge`, behind the same operators.
  std::vector<Use> users(const std::string& edge) const;
  /// The Q that alone reads the node's output, behind operators that move data; nullptr when there is none.
  const Node* quantizer_behind(const Node& node) const;
  /// Number of scales of a Q or DQ: 1 for a computed one.
  int64_t scales_of(const Node& node) const;
  /// Size of the last dimension of `edge` where a Reshape or a graph input before it tells.
  std::optional<int64_t> last_dimension(const std::string& edge) const;

 private:
  bool is_factor(const Node& node, int position) const;
  std::optional<int64_t> last_of_shape(const std::string& shape) const;

  GraphIndex index_;
  std::unordered_set<std::string> computed_;  ///< edges that are constant and no initializers
};

}  // namespace qdqbert::onnx
