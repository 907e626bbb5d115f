// What TensorRT and ONNX Runtime will make of each Q/DQ pair.
#pragma once

#include <string>
#include <vector>

#include "qdqbert/onnx/model.h"

namespace qdqbert::onnx {

enum class PairFate {
  kFused,     ///< at least one of the two runs the consumer on integers, or reads 8 bits where it read 32
  kNotFused,  ///< computed in float behind the pair: right, but nothing is gained
  kOrphan,    ///< of no use to any operator behind it, or TensorRT refuses the file or changes its meaning
};

struct PairReport {
  std::string name;  ///< as QuantizedTensor::name
  PairFate fate = PairFate::kFused;
  std::string tensorrt;     ///< e.g. "INT8 GEMM"
  std::string onnxruntime;  ///< e.g. "MatMulIntegerToFloat"
};

enum class TensorRtProduct {
  kFloat,
  kInt8Gemm,        ///< by a weight
  kInt8Batched,     ///< of two activations, outside of a fused attention
  kFusedAttention,  ///< one of the two inside of one
};

/// Of a MatMul or Gemm.
struct ProductReport {
  std::string name;  ///< of the node
  TensorRtProduct kind = TensorRtProduct::kFloat;
  std::string tensorrt;
  bool integer_in_onnxruntime = false;
  std::string onnxruntime;  ///< the operator that it becomes, and why not a better one
};

struct LintReport {
  std::vector<PairReport> pairs;
  std::vector<ProductReport> products;  ///< those of which an input is dequantized
  /// Why TensorRT or ONNX Runtime does not take the file, a sentence for each node that is a reason.
  std::vector<std::string> tensorrt_refusals, onnxruntime_refusals;
  int count(PairFate fate) const;
  /// One line for each refusal; then one for each distinct (fate, TensorRT, ONNX
  /// Runtime), with the number of pairs.
  std::vector<std::string> lines() const;
};

/// What the two do was asked of them (TensorRT for RTX 1.7.1, ONNX Runtime 1.31.1;
/// tests/peer/tensorrt_variants.py asks again); docs/quantization.md has the rules.
LintReport lint(const Model& model);

/// Throws InputError naming the first refusal or orphan.
void require_no_orphan(const LintReport& report);

}  // namespace qdqbert::onnx
