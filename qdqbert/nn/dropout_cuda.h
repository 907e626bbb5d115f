// Dropout of tensors that lie on a GPU. Built where LibTorch has CUDA and nvcc was found.
#pragma once

#include <ATen/ATen.h>

#include "qdqbert/nn/kernels/rows.h"

namespace qdqbert::nn {

/// Whether dropout_on_cuda() may be called: float32, float16 or bfloat16 on a GPU.
bool has_cuda_dropout(const at::Tensor& x);

/// dropout() of dropout.h: elements whose word of `stream` is at least `threshold` are
/// multiplied by `scale`, the others become 0; differentiable. Neither waits for the device
/// nor keeps anything for the backward pass.
at::Tensor dropout_on_cuda(const at::Tensor& x, const RandomStream& stream, uint32_t threshold, float scale);

}  // namespace qdqbert::nn
