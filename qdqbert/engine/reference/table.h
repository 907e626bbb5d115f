// What the files of this folder share: rows of the operator table, and helpers for reading operands.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/graph.h"

namespace qdqbert::engine::reference {

/// Operands as in the node; null where one is left out. At least `required` are there and not null.
using Inputs = std::span<const Tensor* const>;

struct Operator {
  const char* name;
  size_t required;  ///< leading inputs that may not be left out
  size_t most;      ///< inputs at most
  std::vector<Tensor> (*evaluate)(const Node& node, Inputs inputs);
};

std::span<const Operator> elementwise_operators();
std::span<const Operator> shape_operators();
std::span<const Operator> matrix_operators();
std::span<const Operator> row_operators();
std::span<const Operator> quantization_operators();

template <class... Args>
[[noreturn]] void fail_node(const Node& node, fmt::format_string<Args...> format, Args&&... args) {
  fail("[onnx] {} ({}): {}", node.name, node.op, fmt::format(format, std::forward<Args>(args)...));
}

/// allocate_tensor() that refuses sizes no BERT has before memory is asked for.
WritableTensor new_tensor(const Node& node, DType dtype, const Shape& shape);

/// a . b for I32 operands of at least two axes, in int32.
Tensor integer_product(const Node& node, const Tensor& a, const Tensor& b);

inline const Tensor* optional_input(Inputs inputs, size_t i) {
  return i < inputs.size() ? inputs[i] : nullptr;
}

/// Integers of an I64 or I32 operand.
std::vector<int64_t> integers_of(const Node& node, const Tensor& tensor);
/// The operand as F32: itself, or widened from F16, BF16 or F64.
Tensor as_float(const Node& node, const Tensor& tensor);
/// An F32 result in the type that the operand had.
Tensor like(const Node& node, Tensor result, DType dtype);
/// `axis` in [0, rank).
size_t checked_axis(const Node& node, int64_t axis, size_t rank);
/// The shape that operands broadcast to, numpy's way.
Shape broadcast_shape(const Node& node, const Shape& a, const Shape& b);
/// For each element of a result of shape `to`, in order: the index of the operand's element.
class BroadcastIndex {
 public:
  BroadcastIndex(const Shape& from, const Shape& to);
  size_t operator*() const { return index_; }
  void advance();

 private:
  Shape size_, stride_, at_;
  size_t index_ = 0;
};

}  // namespace qdqbert::engine::reference
