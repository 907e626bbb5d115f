// What TensorRT and ONNX Runtime will make of each Q/DQ pair.
#pragma once

#include <string>
#include <vector>

#include "qdqbert/onnx/model.h"

namespace qdqbert::onnx {

enum class PairFate {
  kFused,     ///< at least one of the two runs the consumer on integers
  kNotFused,  ///< computed in float behind the pair: right, but it costs time
  kOrphan,    ///< no operator behind the pair could ever use it, or the pair breaks a rule of both
};

struct PairReport {
  std::string name;  ///< as QuantizedTensor::name
  PairFate fate = PairFate::kFused;
  std::string tensorrt;     ///< e.g. "INT8 GEMM"
  std::string onnxruntime;  ///< e.g. "MatMulIntegerToFloat"
};

struct LintReport {
  std::vector<PairReport> pairs;
  int count(PairFate fate) const;
  /// One line for each distinct (fate, TensorRT, ONNX Runtime), with the number of pairs.
  std::vector<std::string> lines() const;
};

/// Rules: a Q is followed by a DQ of the same scale and zero point; zero points are 0 of INT8; activations
/// have one positive scale, weights one for each output column (axis 1 of [in, out]) at most; MatMul needs
/// both inputs dequantized, a residual Add both terms.
LintReport lint(const Model& model);

/// Throws InputError naming the first orphan.
void require_no_orphan(const LintReport& report);

}  // namespace qdqbert::onnx
