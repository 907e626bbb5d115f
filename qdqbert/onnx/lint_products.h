// What TensorRT and ONNX Runtime make of each MatMul and Gemm of a quantized graph.
#pragma once

#include <string>
#include <unordered_map>

#include "qdqbert/onnx/lint.h"
#include "qdqbert/onnx/quantized_graph.h"

namespace qdqbert::onnx {

class ProductJudge {
 public:
  explicit ProductJudge(const QuantizedGraph& graph, const Model& model);
  static bool is_product(const Node& node) { return node.op_type() == "MatMul" || node.op_type() == "Gemm"; }
  const ProductReport& report(const Node& node) const { return reports_.at(&node); }

 private:
  void find_attention(const Node& softmax);
  const Node* product_before(const Node& softmax) const;
  const Node* product_behind(const Node& softmax) const;
  std::string obstacle_of(const Node& first, const Node& second) const;
  ProductReport judge(const Node& node) const;
  void judge_for_tensorrt(const Node& node, ProductReport& report) const;
  void judge_for_onnxruntime(const Node& node, ProductReport& report) const;
  /// Why TensorRT computes it in float; empty for integers.
  std::string float_reason(const Node& node) const;
  bool scales_along_outputs(const Node& node, const Dequantized& weight) const;
  /// Dequantized with one constant scale.
  bool is_int8(const std::string& edge) const;
  bool has_half_scale(const Node& dq) const;
  bool is_signed(const Node& dq) const;

  const QuantizedGraph& graph_;
  /// By both products of an attention: why it is not fused, or "".
  std::unordered_map<const Node*, std::string> attentions_;
  std::unordered_map<const Node*, ProductReport> reports_;
};

}  // namespace qdqbert::onnx
