// What a graph holds, in numbers and as its set of quantized tensors.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "qdqbert/onnx/model.h"

namespace qdqbert::onnx {

/// One Q/DQ pair, or a DequantizeLinear of an INT8 initializer.
struct QuantizedTensor {
  std::string name;           ///< node name without its operator: "/bert/.../query/_input_quantizer"
  std::string tensor;         ///< the edge that is quantized
  bool is_constant = false;   ///< the edge is an initializer
  std::vector<float> scales;  ///< one, or one for each channel; none where the graph computes it
  DType scale_type = DType::kF32;
  DType code_type = DType::kU8;  ///< element type of the zero point; without one the operator's default
  std::optional<int64_t> axis;   ///< of a per-channel pair
};

struct GraphSummary {
  int64_t ir_version = 0, opset = 0;
  std::vector<std::string> inputs, outputs;
  int64_t nodes = 0;
  std::map<std::string, int64_t> op_counts;
  std::vector<QuantizedTensor> quantized;  ///< in node order
};

/// Throws InputError when a Q or DQ has no scale.
GraphSummary summarize(const Model& model);

/// Pairs with the same tensor, scales and axis collapse into the first of them.
std::vector<QuantizedTensor> merged(std::vector<QuantizedTensor> pairs);

}  // namespace qdqbert::onnx
