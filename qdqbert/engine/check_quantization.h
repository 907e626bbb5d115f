// What the engine's arithmetic takes for granted about quantized operators.
#pragma once

#include "qdqbert/engine/graph.h"

namespace qdqbert::engine {

/// Checks the constants of QuantizeLinear, DequantizeLinear, QLinearMatMul, MatMulInteger, and of
/// com.microsoft's QuantizeLinear, DequantizeLinear, QLinearAdd, QLinearMul, QLinearSigmoid, QLinearSoftmax,
/// QGemm, MatMulIntegerToFloat and DynamicQuantizeMatMul: scales are floating, finite and above zero; zero
/// points have the type of the codes, as many elements as the scales, and are 0 where codes are I32; scales
/// for each channel are as many as their axis is long, which lies inside of the tensor. What is computed at
/// run time is not looked at, so a graph can be checked again once constants are folded. Throws InputError
/// naming file, node and operator.
void check_quantization(const Graph& graph);

}  // namespace qdqbert::engine
