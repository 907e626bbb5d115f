// Builds a graph node by node. Values are known by the names of their edges; node names follow module
// paths, as the original's exporter names them: node "/bert/encoder/layer.0/output/Add" gives the value
// "/bert/encoder/layer.0/output/Add_output_0".
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "qdqbert/base/dtype.h"
#include "qdqbert/onnx/model.h"

namespace qdqbert::onnx {

/// Name of an edge of the graph.
using Value = std::string;

struct Attribute {
  std::string_view name;
  std::variant<int64_t, float, std::string, std::vector<int64_t>> value;
};

/// A size, or the name of a dynamic one.
using Dimension = std::variant<int64_t, std::string>;

class GraphBuilder {
 public:
  /// `opset` fixes the intermediate-representation version too: 7 up to opset 14, 8 up to 18, 9 for 19.
  GraphBuilder(int opset, std::string_view graph_name);

  int opset() const { return opset_; }

  Value input(const std::string& name, DType dtype, const std::vector<Dimension>& shape);
  /// Renames the edge `value` to `name` and makes it an output.
  void output(const std::string& name, const Value& value, DType dtype, const std::vector<Dimension>& shape);

  /// A tensor with a name of its own. Adding the same name twice is an error of the caller.
  Value initializer(const std::string& name, OwnedTensor tensor);
  bool has_initializer(const std::string& name) const { return initializers_.contains(name); }
  /// Small constants, stored once for equal content.
  Value floats(const std::vector<float>& values, const Shape& shape, DType dtype);
  Value scalar(float value, DType dtype = DType::kF32) { return floats({value}, {}, dtype); }
  Value integers(const std::vector<int64_t>& values, const Shape& shape);
  Value integers(const std::vector<int64_t>& values) {
    return integers(values, {static_cast<int64_t>(values.size())});
  }
  Value zero_points(int64_t count, bool scalar);

  /// One node with one output. `scope` is the module path ("/bert/embeddings"); a second node of the same
  /// type in a scope gets the suffix _1, and so on.
  Value node(std::string_view op, const std::string& scope, const std::vector<Value>& inputs,
             const std::vector<Attribute>& attributes = {});
  std::vector<Value> node_with_outputs(std::string_view op, const std::string& scope,
                                       const std::vector<Value>& inputs, size_t outputs,
                                       const std::vector<Attribute>& attributes = {});

  /// Ends the building.
  Model take();

 private:
  Value small_constant(OwnedTensor tensor);

  int opset_;
  Model model_;
  std::unordered_map<std::string, int> names_;
  std::unordered_map<std::string, bool> initializers_;
  std::map<std::string, Value> constants_;  // by type, shape and content
};

/// `values` as elements of a floating type.
OwnedTensor float_tensor(std::span<const float> values, const Shape& shape, DType dtype);

}  // namespace qdqbert::onnx
