// Weights as the planner leaves them: packed for one kernel, scales folded.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qdqbert/engine/integer/arena.h"
#include "qdqbert/engine/kernels/pack.h"
#include "qdqbert/engine/kernels/rows.h"

namespace qdqbert::engine {

/// y[n] = acc[n] * scale[n] + bias[n] with acc = codes . weight; vectors are padded to whole panels.
struct PackedLinear {
  size_t k = 0, k_padded = 0, n = 0, n_padded = 0;
  AlignedBuffer<unsigned char> panels;
  std::vector<float> scale;  ///< input scale * weight scale of the column
  std::vector<float> bias;
  const PackedLinear* next = nullptr;  ///< whose weights are read after these, or null
};

/// One of the matrices that are packed side by side: x * scale * (codes * weight_scale) + bias.
struct LinearPart {
  MatrixS8 codes;
  std::span<const float> weight_scale;  ///< one value per column, or one for all
  std::span<const float> bias;          ///< may be empty
};

/// Packs parts with equal k one after the other; all but the last must have a multiple of kernel.columns
/// columns.
PackedLinear pack_linear(const GemmS8Kernel& kernel, std::span<const LinearPart> parts, float input_scale);

/// out = LayerNorm(fake_quantize(matmul) + dequantize(residual codes)), quantized once per entry of
/// output_scales.
struct ResidualNorm {
  float local_scale = 0;           ///< 0: the matmul result is added as it is
  float residual_scale = 0;        ///< 0: the residual is floats
  std::vector<float> gamma, beta;  ///< padded to a multiple of 16
  float epsilon = 0;
  std::vector<float> output_scales;
};

}  // namespace qdqbert::engine
