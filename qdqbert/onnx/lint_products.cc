#include "qdqbert/onnx/lint_products.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace qdqbert::onnx {
namespace {

/// Operators that TensorRT's fused attention takes between its first product and softmax.
bool stands_before_softmax(const std::string& op) {
  static const std::set<std::string> ops = {"Add",
                                            "Sub",
                                            "Mul",
                                            "Div",
                                            "Where",
                                            "Cast",
                                            "Identity",
                                            "Expand",
                                            "QuantizeLinear",
                                            "DequantizeLinear"};
  return ops.contains(op);
}

bool stands_behind_softmax(const std::string& op) {
  return op == "QuantizeLinear" || op == "DequantizeLinear" || op == "Cast" || op == "Identity" ||
         op == "Dropout";
}

constexpr size_t kMostNodes = 64;

}  // namespace

ProductJudge::ProductJudge(const QuantizedGraph& graph, const Model& model) : graph_(graph) {
  const auto& nodes = model.proto().graph().node();
  for (const Node& node : nodes)
    if (node.op_type() == "Softmax") find_attention(node);
  for (const Node& node : nodes)
    if (is_product(node)) reports_[&node] = judge(node);
}

const Node* ProductJudge::product_before(const Node& softmax) const {
  std::vector<const Node*> nodes = {&softmax};
  std::set<const Node*> seen;
  for (size_t i = 0; i < nodes.size() && i < kMostNodes; ++i)
    for (const std::string& edge : nodes[i]->input()) {
      const Node* node = graph_.index().producer(edge);
      if (node == nullptr || !seen.insert(node).second) continue;
      if (node->op_type() == "MatMul") return node;
      if (stands_before_softmax(node->op_type())) nodes.push_back(node);
    }
  return nullptr;
}

const Node* ProductJudge::product_behind(const Node& softmax) const {
  std::vector<const Node*> nodes = {&softmax};
  for (size_t i = 0; i < nodes.size() && nodes.size() < kMostNodes; ++i)
    for (const Node* node : graph_.index().consumers(output_of(*nodes[i]))) {
      if (node->op_type() == "MatMul") return node;
      if (stands_behind_softmax(node->op_type())) nodes.push_back(node);
    }
  return nullptr;
}

void ProductJudge::find_attention(const Node& softmax) {
  const Node *first = product_before(softmax), *second = product_behind(softmax);
  if (first == nullptr || second == nullptr) return;
  attentions_[first] = attentions_[second] = obstacle_of(*first, *second);
}

bool ProductJudge::has_half_scale(const Node& dq) const {
  const auto scale = graph_.index().constant(input_of(dq, 1));
  return scale && scale->dtype == DType::kF16;
}

bool ProductJudge::is_signed(const Node& dq) const {
  const auto zero = graph_.index().constant(input_of(dq, 2));
  return zero && zero->dtype == DType::kI8;
}

bool ProductJudge::is_int8(const std::string& edge) const {
  const auto found = graph_.dequantized(edge);
  return found && graph_.scales_of(*found->dq) == 1 && graph_.is_constant(input_of(*found->dq, 1));
}

std::string ProductJudge::obstacle_of(const Node& first, const Node& second) const {
  for (const std::string& edge : {input_of(first, 0), input_of(first, 1)}) {
    const auto size = graph_.last_dimension(edge);
    if (!size) continue;
    if (*size != 16 && *size != 32 && *size != 64)
      return fmt::format("heads of {}, and those of 16, 32 and 64 fuse", *size);
    break;
  }
  if (!is_int8(input_of(first, 0))) return "no Q on the query";
  if (!is_int8(input_of(first, 1))) return "no Q on the key";
  if (!is_int8(input_of(second, 0))) return "no Q behind softmax";
  if (!is_int8(input_of(second, 1))) return "no Q on the value";
  const Node* behind = graph_.quantizer_behind(second);
  if (behind == nullptr) return "no Q alone reads the second product";
  if (graph_.scales_of(*behind) != 1 || !graph_.is_constant(input_of(*behind, 1)))
    return "the Q behind the second product has no single constant scale";
  return {};
}

ProductReport ProductJudge::judge(const Node& node) const {
  ProductReport report;
  report.name = node.name();
  judge_for_tensorrt(node, report);
  judge_for_onnxruntime(node, report);
  return report;
}

bool ProductJudge::scales_along_outputs(const Node& node, const Dequantized& weight) const {
  if (graph_.scales_of(*weight.dq) == 1) return true;
  const bool gemm_transposes = node.op_type() == "Gemm" && integer_attribute(node, "transB", 0) != 0;
  int64_t axis = integer_attribute(*weight.dq, "axis", 1);
  if (axis < 0) axis += 2;
  return axis == (weight.transposed != gemm_transposes ? 0 : 1);
}

std::string ProductJudge::float_reason(const Node& node) const {
  const auto a = graph_.dequantized(input_of(node, 0)), b = graph_.dequantized(input_of(node, 1));
  if (!a && b && graph_.is_constant(input_of(node, 1)))
    return "its other input is not quantized, and dequantizing the weight is work of its own";
  if (!a || !b) return "its other input is not quantized";
  for (const Dequantized& side : {*a, *b}) {
    if (!graph_.is_constant(input_of(*side.dq, 1))) return "a scale is computed from the input";
    if (graph_.scales_of(*side.dq) == 1) continue;
    if (!graph_.is_constant(input_of(*side.dq, 0))) return "an activation has several scales";
    if (!scales_along_outputs(node, side)) return "the weight's scales are not along its outputs";
  }
  return {};
}

void ProductJudge::judge_for_tensorrt(const Node& node, ProductReport& report) const {
  if (const std::string reason = float_reason(node); !reason.empty()) {
    report.tensorrt = fmt::format("{} in float: {}", node.op_type(), reason);
    return;
  }
  const auto found = [&](TensorRtProduct kind, std::string text) {
    report.kind = kind;
    report.tensorrt = std::move(text);
  };
  const auto attention = attentions_.find(&node);
  if (graph_.is_constant(input_of(node, 0)) || graph_.is_constant(input_of(node, 1))) {
    found(TensorRtProduct::kInt8Gemm, "INT8 GEMM");
  } else if (attention == attentions_.end()) {
    found(TensorRtProduct::kInt8Batched, "INT8 batched GEMM");
  } else if (!attention->second.empty()) {
    found(TensorRtProduct::kInt8Batched, "INT8 batched GEMM, attention not fused: " + attention->second);
  } else {
    found(TensorRtProduct::kFusedAttention, "INT8 fused attention (profiles of up to 512 tokens)");
  }
}

void ProductJudge::judge_for_onnxruntime(const Node& node, ProductReport& report) const {
  const auto a = graph_.dequantized(input_of(node, 0)), b = graph_.dequantized(input_of(node, 1));
  const auto in_float = [&](const char* reason) {
    report.onnxruntime = fmt::format("{} in float: {}", node.op_type(), reason);
  };
  const bool weight = graph_.is_constant(input_of(node, 1));
  if (!a && b && weight && !b->scaled && node.op_type() == "MatMul") {
    report.onnxruntime = "MatMulNBits: its other input is not quantized";
    return;
  }
  if (!a || !b) return in_float("its other input is not quantized");
  if (a->scaled || b->scaled) return in_float("a factor stands behind the DequantizeLinear");
  if (graph_.scales_of(*a->dq) != 1 || (!weight && graph_.scales_of(*b->dq) != 1))
    return in_float("an activation has several scales");
  if (weight && has_half_scale(*b->dq)) return in_float("the scales of its weight are half precision");
  // On x86 signed activations are made unsigned first, which a Q with several readers is not.
  if ((a->shared && is_signed(*a->dq)) || (!weight && b->shared && is_signed(*b->dq)))
    return in_float("others read its signed codes, too");
  report.integer_in_onnxruntime = true;
  report.onnxruntime = node.op_type() == "Gemm" ? "QGemm"
                       : graph_.quantizer_behind(node) != nullptr && !has_half_scale(*a->dq)
                           ? "QLinearMatMul"
                           : "MatMulIntegerToFloat";
  if (!scales_along_outputs(node, *b)) report.onnxruntime += ", with scales along the wrong axis";
}

}  // namespace qdqbert::onnx
