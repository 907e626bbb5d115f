#include "qdqbert/engine/check_quantization.h"

#include <cmath>
#include <map>
#include <string>
#include <string_view>

#include "qdqbert/base/error.h"

namespace qdqbert::engine {
namespace {

/// Which axis scales for each channel go along.
enum class Channels : uint8_t {
  kNone,       ///< one scale for the tensor
  kAttribute,  ///< the node's axis
  kRows,       ///< the last but one
  kColumns,    ///< the last
};

constexpr int kAbsent = -1;
/// Codes that the node makes rather than reads.
constexpr int kResult = -2;

/// One quantized operand: the positions of its codes, scale and zero point among the node's inputs.
struct Operand {
  int codes, scale, zero_point;
  Channels channels;
  bool optional = false;  ///< without a scale the operand is not quantized
};

const std::vector<Operand>* operands_of(const std::string& op) {
  using enum Channels;
  static const std::vector<Operand> kQuantize = {{kResult, 1, 2, kAttribute}};
  static const std::vector<Operand> kDequantize = {{0, 1, 2, kAttribute}};
  static const std::vector<Operand> kBinary = {{0, 1, 2, kNone}, {3, 4, 5, kNone}, {kResult, 6, 7, kNone}};
  static const std::vector<Operand> kUnary = {{0, 1, 2, kNone}, {kResult, 3, 4, kNone}};
  static const std::map<std::string, std::vector<Operand>, std::less<>> kTable = {
      {"QuantizeLinear", kQuantize},
      {"DequantizeLinear", kDequantize},
      {"com.microsoft.QuantizeLinear", kQuantize},
      {"com.microsoft.DequantizeLinear", kDequantize},
      {"QLinearMatMul", {{0, 1, 2, kRows}, {3, 4, 5, kColumns}, {kResult, 6, 7, kNone}}},
      {"MatMulInteger", {{0, kAbsent, 2, kRows}, {1, kAbsent, 3, kColumns}}},
      {"com.microsoft.QLinearAdd", kBinary},
      {"com.microsoft.QLinearMul", kBinary},
      {"com.microsoft.QLinearSigmoid", kUnary},
      {"com.microsoft.QLinearSoftmax", kUnary},
      {"com.microsoft.QGemm", {{0, 1, 2, kNone}, {3, 4, 5, kColumns}, {kResult, 7, 8, kNone, true}}},
      {"com.microsoft.MatMulIntegerToFloat", {{0, 2, 4, kNone}, {1, 3, 5, kColumns}}},
      {"com.microsoft.DynamicQuantizeMatMul", {{1, 2, 3, kColumns}}},
  };
  const auto found = kTable.find(op);
  return found == kTable.end() ? nullptr : &found->second;
}

bool is_floating(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}
bool holds_codes(DType dtype) {
  return dtype == DType::kI8 || dtype == DType::kU8 || dtype == DType::kI16 || dtype == DType::kI32;
}

class Checker {
 public:
  explicit Checker(const Graph& graph)
      : graph_(graph), code_types_(graph.values.size()), shapes_(graph.values.size(), nullptr) {
    for (size_t id = 0; id < graph.values.size(); ++id) {
      const Value& value = graph.values[id];
      if (value.constant) {
        code_types_[id] = value.constant->dtype;
        shapes_[id] = &value.constant->shape;
      }
    }
    for (const ValueId id : graph.inputs) {
      code_types_[id] = graph.values[id].dtype;
      if (graph.values[id].shape) shapes_[id] = &*graph.values[id].shape;
    }
  }

  void run() {
    for (const Node& node : graph_.nodes) {
      node_ = &node;
      const std::vector<Operand>* operands = operands_of(node.op);
      if (!operands) continue;
      for (const Operand& operand : *operands) check(operand);
    }
  }

 private:
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("[onnx] {}: node {} ({}): {}", graph_.name, node_->name, node_->op,
         fmt::format(format, std::forward<Args>(args)...));
  }

  ValueId input(int position) const {
    return position >= 0 && static_cast<size_t>(position) < node_->inputs.size() ? node_->inputs[position]
                                                                                 : kNoValue;
  }
  const Tensor* constant(int position) const {
    const ValueId id = input(position);
    return graph_.is_constant(id) ? &*graph_.values[id].constant : nullptr;
  }

  void check(const Operand& operand) {
    const Tensor* scale = constant(operand.scale);
    if (operand.scale != kAbsent && !operand.optional && input(operand.scale) == kNoValue)
      refuse("input {}, a scale, is missing", operand.scale);
    if (scale) check_scale(operand, *scale);
    const ValueId codes = input(operand.codes);
    if (codes != kNoValue && code_types_[codes] && !holds_codes(*code_types_[codes]))
      refuse("{} has type {}, which no codes have", graph_.values[codes].name, name_of(*code_types_[codes]));
    const Tensor* zero_point = constant(operand.zero_point);
    if (zero_point) check_zero_point(operand, *zero_point, scale);
    if (scale) check_axis(operand, "scales", scale->shape);
    if (zero_point) check_axis(operand, "zero points", zero_point->shape);

    const bool to_codes = node_->op == "QuantizeLinear" || node_->op == "com.microsoft.QuantizeLinear";
    const bool to_floats = node_->op == "DequantizeLinear" || node_->op == "com.microsoft.DequantizeLinear";
    if (node_->outputs.empty() || node_->outputs[0] == kNoValue) return;
    const ValueId out = node_->outputs[0];
    if (operand.codes == kResult) {
      if (zero_point) code_types_[out] = zero_point->dtype;
      // Without a zero point, and in the opsets whose output type cannot be told otherwise, codes are U8.
      else if (input(operand.zero_point) == kNoValue && !node_->attributes.count("output_dtype"))
        code_types_[out] = DType::kU8;
    }
    if ((to_codes || to_floats) && input(0) != kNoValue) shapes_[out] = shapes_[input(0)];
  }

  void check_scale(const Operand& operand, const Tensor& scale) const {
    if (!is_floating(scale.dtype))
      refuse("its scale {} has type {}", value_name(operand.scale), name_of(scale.dtype));
    const std::vector<float> values = to_float32(scale.view());
    for (size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(values[i]) || values[i] <= 0)
        refuse("scale {} of {} is {}; scales are finite and above zero", i, value_name(operand.scale),
               values[i]);
    if (values.empty()) refuse("its scale {} is empty", value_name(operand.scale));
  }

  void check_zero_point(const Operand& operand, const Tensor& zero_point, const Tensor* scale) const {
    const std::string& name = value_name(operand.zero_point);
    if (!holds_codes(zero_point.dtype))
      refuse("its zero point {} has type {}", name, name_of(zero_point.dtype));
    if (operand.codes == kResult && zero_point.dtype == DType::kI32)
      refuse("its zero point {} has type {}; nothing is quantized to that", name, name_of(zero_point.dtype));
    if (zero_point.bytes.empty()) refuse("its zero point {} is empty", name);
    const ValueId codes = input(operand.codes);
    if (codes != kNoValue && code_types_[codes] && *code_types_[codes] != zero_point.dtype)
      refuse("its zero point {} has type {}, its codes {} have {}", name, name_of(zero_point.dtype),
             graph_.values[codes].name, name_of(*code_types_[codes]));
    if (scale && scale->count() != zero_point.count())
      refuse("it has {} scales and {} zero points", scale->count(), zero_point.count());
    if (zero_point.dtype == DType::kI32)
      for (const int32_t value : zero_point.as<int32_t>())
        if (value != 0) refuse("its zero point {} is {}; codes of type I32 have none", name, value);
  }

  /// `shape`: of scales or zero points. One element always stands for the whole tensor.
  void check_axis(const Operand& operand, std::string_view what, const Shape& shape) const {
    const int64_t count = element_count(shape);
    if (count == 1 && shape.size() <= 1) return;
    if (operand.channels == Channels::kNone) refuse("{} {} where one is for the whole tensor", count, what);
    if (shape.size() != 1) refuse("{} of shape {}, not one for each channel", what, to_string(shape));
    // Quantized tensors have the shape of what is quantized.
    const ValueId codes = input(operand.codes == kResult ? 0 : operand.codes);
    const Shape* tensor = codes == kNoValue ? nullptr : shapes_[codes];
    if (!tensor) return;
    const auto rank = static_cast<int64_t>(tensor->size());
    int64_t axis = operand.channels == Channels::kAttribute ? node_->integer("axis", 1)
                   : operand.channels == Channels::kRows    ? -2
                                                            : columns_axis();
    if (axis < -rank || axis >= rank) refuse("axis {} of a tensor of shape {}", axis, to_string(*tensor));
    if (axis < 0) axis += rank;
    const int64_t size = (*tensor)[static_cast<size_t>(axis)];
    if (size >= 0 && size != count)
      refuse("{} {} along axis {} of a tensor of shape {}", count, what, axis, to_string(*tensor));
  }

  /// Gemm may hold its weight transposed.
  int64_t columns_axis() const { return node_->integer("transB", 0) != 0 ? -2 : -1; }

  const std::string& value_name(int position) const { return graph_.values[input(position)].name; }

  const Graph& graph_;
  const Node* node_ = nullptr;
  std::vector<std::optional<DType>> code_types_;
  std::vector<const Shape*> shapes_;
};

}  // namespace

void check_quantization(const Graph& graph) {
  Checker(graph).run();
}

}  // namespace qdqbert::engine
