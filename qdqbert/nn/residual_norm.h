// What follows a linear layer in BERT, row by row in the nearest cache: dropout,
// quantization, residual sum, LayerNorm.
#pragma once

#include "qdqbert/nn/part_quantizer.h"

namespace qdqbert::nn {

/// LayerNorm(Q(dropout(x)) + Q(residual)) over the last dimension.
struct ResidualNorm {
  at::Tensor x;
  at::Tensor residual;      ///< shape of x; undefined: nothing is added
  at::Tensor weight, bias;  ///< [H]
  double epsilon = 1e-12;
  double dropout = 0;
  PartQuantizer local, added;  ///< of x and of the residual
  at::Tensor dropped{};        ///< contiguous, shape of x: receives dropout(x) for a reader; undefined: none

  /// float32 on the CPU, shapes as said, and rows to work on.
  bool fits() const;
};

/// Differentiable in the four tensors, with the same bits for any number of threads.
/// Of x and the residual only their sum and a bit an element are kept for the backward pass.
/// Takes the next dropout mask when dropout > 0.
at::Tensor residual_norm(const ResidualNorm& operands);

}  // namespace qdqbert::nn
