// One evaluation of a node, as operator functions see it; and the table row that an operator is.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/base/math.h"
#include "qdqbert/engine/reference/operators.h"

namespace qdqbert::engine::reference {

struct Call {
  const Node& node;
  std::span<const Tensor* const> inputs;
  const Environment& environment;

  /// Throws InputError "[onnx] NODE (OPERATOR): sentence".
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    qdqbert::fail("[onnx] {} ({}): {}", node.name, node.op, fmt::format(format, std::forward<Args>(args)...));
  }

  const Tensor* optional(size_t index) const { return index < inputs.size() ? inputs[index] : nullptr; }
  const Tensor& input(size_t index) const;
  bool wants(size_t output) const { return output < node.outputs.size() && node.outputs[output] != kNoValue; }

  /// Checks the environment's limit.
  WritableTensor allocate(DType dtype, Shape shape) const;
  /// element_count() of a shape that was computed from inputs.
  int64_t count(const Shape& shape) const;
  /// An axis in [-rank, rank) as one in [0, rank).
  size_t axis(int64_t axis, size_t rank) const;
  /// Elements of an I64 or I32 tensor of at most one dimension: shapes, axes, repeats.
  std::vector<int64_t> integers(const Tensor& tensor, std::string_view what) const;
  /// The only element of an F32 tensor.
  float real(const Tensor& tensor, std::string_view what) const;
  void require(const Tensor& tensor, DType dtype, std::string_view what) const;
  void require_same_type(const Tensor& a, const Tensor& b) const;
  /// numpy's rule for two shapes.
  Shape broadcast(const Shape& a, const Shape& b) const;

  /// body(begin, end) over pieces of [0, count) of at least `grain`; it must not throw.
  template <class Body>
  void parallel(int64_t count, int64_t grain, const Body& body) const {
    WorkerPool* pool = environment.pool;
    if (!pool || pool->threads() < 2 || count <= grain) {
      if (count > 0) body(int64_t{0}, count);
      return;
    }
    const int64_t pieces = std::min<int64_t>(divide_up(count, grain), 4 * pool->threads());
    const int64_t each = divide_up(count, pieces);
    pool->run(static_cast<size_t>(pieces), [&](size_t piece, int) {
      const int64_t begin = std::min(count, static_cast<int64_t>(piece) * each);
      const int64_t end = std::min(count, begin + each);
      if (begin < end) body(begin, end);
    });
  }
};

/// The same bytes under another shape of as many elements.
Tensor reshaped(const Tensor& tensor, Shape shape);

/// TensorProto.DataType to DType; throws InputError for types that the engine does not have.
DType element_type(const Call& call, int64_t onnx_type);
bool has_element_type(int64_t onnx_type);

/// What happens to F16 and BF16 inputs before the function sees them.
enum class Half : uint8_t {
  kAsIs,        ///< elements are only moved
  kWiden,       ///< inputs become F32, F32 outputs get the type of the first floating input
  kWidenFirst,  ///< the same, but only for the first output
};

struct Operator {
  std::string_view name;
  std::vector<Tensor> (*function)(const Call&);
  Half half = Half::kWiden;
  /// What the node asks for that the function lacks; null: nothing.
  std::string (*check)(const Node&) = nullptr;
  /// Any number of inputs that is less is refused.
  size_t inputs = 1;
};

std::span<const Operator> arithmetic_operators();
std::span<const Operator> comparison_operators();
std::span<const Operator> unary_operators();
std::span<const Operator> activation_operators();
std::span<const Operator> shape_operators();
std::span<const Operator> movement_operators();
std::span<const Operator> gather_operators();
std::span<const Operator> search_operators();
std::span<const Operator> pad_operators();
std::span<const Operator> generator_operators();
std::span<const Operator> matmul_operators();
std::span<const Operator> einsum_operators();
std::span<const Operator> reduction_operators();
std::span<const Operator> normalization_operators();
std::span<const Operator> quantization_operators();
std::span<const Operator> integer_matmul_operators();
std::span<const Operator> quantized_elementwise_operators();
std::span<const Operator> cast_operators();

}  // namespace qdqbert::engine::reference
