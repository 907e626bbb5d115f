// The engine's own graph: what importers produce and passes rewrite. No protobuf.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "qdqbert/base/dtype.h"
#include "qdqbert/base/mapped_file.h"

namespace qdqbert::engine {

/// A tensor whose elements live as long as any copy of it: views into a mapped file, or memory of its own.
struct Tensor {
  DType dtype = DType::kF32;
  Shape shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  ///< keeps `bytes` alive

  int64_t count() const { return element_count(shape); }
  TensorView view() const { return {dtype, shape, bytes}; }
  /// Elements in place; dtype must be T's, and bytes aligned for T (importers see to that).
  template <class T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
};

/// A tensor with memory of its own, on a 64-byte boundary, and the pointer to fill it.
struct WritableTensor {
  Tensor tensor;
  std::byte* data = nullptr;
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data);
  }
};
WritableTensor allocate_tensor(DType dtype, Shape shape);
Tensor tensor_of(const OwnedTensor& values);
/// Ids or a mask in the type that a graph declares for them: I64, I32, F32 or BOOL; nothing for other types.
/// `values` has as many elements as the shape.
std::optional<Tensor> whole_numbers(DType dtype, const Shape& shape, std::span<const int64_t> values);

/// Index of a value in Graph::values; kNoValue stands for an optional input that is left out.
using ValueId = uint32_t;
inline constexpr ValueId kNoValue = ~ValueId{0};

struct Value {
  std::string name;
  std::optional<Tensor> constant;  ///< initializers, and what constant folding leaves
  /// Known for graph inputs and outputs. -1 is a size that the file leaves open.
  std::optional<DType> dtype;
  std::optional<Shape> shape;
};

using Attribute = std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>, Tensor>;

struct Node {
  std::string name;    ///< as in the file; made up from the first output where the file has none
  std::string op;      ///< "MatMul"; operators of other domains as "com.microsoft.QLinearAdd"
  int64_t opset = 13;  ///< version of the operator's domain that the file asks for
  std::vector<ValueId> inputs, outputs;
  std::map<std::string, Attribute> attributes;

  /// Attribute values; the default when there is none of that name. Throws InputError naming the node when
  /// the attribute has another type.
  int64_t integer(std::string_view attribute, int64_t otherwise) const;
  float real(std::string_view attribute, float otherwise) const;
  std::string text(std::string_view attribute, std::string_view otherwise) const;
  std::vector<int64_t> integers(std::string_view attribute, std::vector<int64_t> otherwise) const;
};

/// What a rewrite took from looking at a value for a few sizes (passes/probe.h), to be looked at again before
/// other sizes run: see passes/assumptions.h.
struct Assumption {
  enum class Kind : uint8_t {
    kPadding,      ///< a bias that removes the keys which the mask has 0 for,
    kCausal,       ///< and those behind the query;
    kSources,      ///< or the keys of a cross-attention by its mask
    kDistances,    ///< [S, S] of query position - key position + (rows + 1) / 2 - 1
    kPositions,    ///< 0, 1, ..., S - 1 along the last axis
    kZeros,        ///< 0 everywhere
    kLeadingRows,  ///< the first S rows of a table, all where it has fewer
  };
  std::string value;
  Kind kind = Kind::kPadding;
  int64_t rows = 0;  ///< of the table that is read with positions or distances
};

/// Nodes stand in an order in which every value is produced before it is read.
struct Graph {
  std::string name;  ///< path of the file, for messages
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<ValueId> inputs, outputs;
  std::vector<Assumption> assumptions;
  /// What constants point into. Their pages can be given back once weights are packed.
  std::vector<std::shared_ptr<const MappedFile>> files;

  ValueId add_value(std::string value_name);
  ValueId add_constant(std::string value_name, Tensor tensor);
  bool is_constant(ValueId id) const { return id != kNoValue && values[id].constant.has_value(); }
};

/// Who produces and who reads each value; built again after a rewrite.
struct GraphIndex {
  explicit GraphIndex(const Graph& graph);
  /// Index of the producing node, or -1 (inputs and constants).
  std::vector<int32_t> producer;
  /// Indices of the reading nodes, ascending; a node that reads a value twice stands twice.
  std::vector<std::vector<uint32_t>> readers;
  std::vector<bool> is_output;
};

/// Drops nodes whose outputs nobody reads, and values that no node names any more (renumbering the rest).
void remove_unused(Graph& graph);

/// One line a node, `out = Op(in, in) {attribute=value}`,
/// constants as name<F32[3, 4]>; for tests and inspect.
std::string to_text(const Graph& graph);

}  // namespace qdqbert::engine
