// x W^T + b with its gradients, the same bits for any number of threads where has_gemm().
#pragma once

#include <ATen/ATen.h>

namespace qdqbert::nn {

/// A weight as products see it. Kept over several forward passes while the parameter does not change.
struct PreparedWeight {
  at::Tensor values;  ///< [out, in] float32, quantized or the parameter itself; no part of a graph
  at::Tensor passes;  ///< where gradients reach the parameter (fake_quantize.h); undefined: everywhere
  at::Tensor bf16;    ///< `values` rounded; made when first needed
};

/// Whether linear_prepared() may be called: float32 on the CPU, sizes that fit, and oneDNN.
bool can_prepare(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

/// x `prepared`^T + bias for any leading dimensions of x; gradients go to x, to the parameter `weight`
/// and to `bias` (may be undefined). Operands are rounded to BF16 under HalfAutocast when `may_round`;
/// the result is float32. Needs can_prepare().
at::Tensor linear_prepared(const at::Tensor& x, const at::Tensor& weight, PreparedWeight& prepared,
                           const at::Tensor& bias, bool may_round);

/// x W^T + b for any tensors, by LibTorch's operator where linear_prepared() cannot.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  bool may_round = true);

}  // namespace qdqbert::nn
