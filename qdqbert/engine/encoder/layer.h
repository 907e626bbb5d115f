// One quantized encoder layer as the planner leaves it: weights packed, scales folded, every code buffer
// decided.
//
// Letters: T tokens of the packed batch, H hidden size, D head size, I intermediate size.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "qdqbert/engine/encoder/arena.h"
#include "qdqbert/engine/kernels/pack.h"
#include "qdqbert/engine/kernels/rows.h"

namespace qdqbert::engine {

/// y[n] = acc[n] * scale[n] + bias[n] with acc = codes . weight; vectors are padded to whole panels.
struct PackedLinear {
  size_t k = 0, k_padded = 0, n = 0, n_padded = 0;
  AlignedBuffer<unsigned char> panels;
  std::vector<float> scale;  ///< input scale * weight scale of the column
  std::vector<float> bias;
};

/// Packs an [n][k] weight of codes; `weight_scale` has one value per row, or one for all. `bias` may be
/// empty.
PackedLinear pack_linear(const GemmS8Kernel& kernel, const int8_t* weight, size_t n, size_t k,
                         float input_scale, const std::vector<float>& weight_scale,
                         const std::vector<float>& bias);

/// The hidden state between two blocks is kept once per distinct quantizer that reads it. Index into those
/// copies.
using CodeIndex = size_t;

/// One GEMM whose columns go to [column, column + linear.n) of the query | key | value row of 3H codes.
struct Projection {
  PackedLinear linear;
  CodeIndex input = 0;
  size_t column = 0;
};

/// out = LayerNorm(fake_quantize(matmul) + dequantize(residual codes)), quantized once per entry of
/// output_scales.
struct ResidualNorm {
  float local_scale = 0;  ///< 0: the matmul result is added as it is
  CodeIndex residual = 0;
  float residual_scale = 0;
  std::vector<float> gamma, beta;  ///< padded to a multiple of 16
  float epsilon = 0;
  std::vector<float> output_scales;
};

struct QuantizedLayer {
  std::vector<Projection> projections;
  size_t heads = 0, head_size = 0;
  float query_scale = 0, key_scale = 0, value_scale = 0, probability_scale = 0;
  float score_factor = 1;   ///< 1 / sqrt(D)
  float context_scale = 0;  ///< of the codes that `context` reads
  PackedLinear context;
  ResidualNorm attention_norm;
  CodeIndex up_input = 0;
  PackedLinear up;
  Activation activation = Activation::kGelu;
  float activation_clip = std::numeric_limits<float>::infinity();
  float down_input_scale = 0;
  PackedLinear down;
  ResidualNorm output_norm;
};

}  // namespace qdqbert::engine
