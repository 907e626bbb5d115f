// Fake quantization of tensors that lie on a GPU. Built where LibTorch has CUDA and nvcc was found.
#pragma once

#include <ATen/ATen.h>

#include "qdqbert/quant/fake_quant.h"

namespace qdqbert::nn {

/// Whether fake_quantize_on_cuda() may be called: float32 on one GPU, kToolkit,
/// `amax` with one element or along one axis.
bool has_cuda_kernels(const at::Tensor& x, const at::Tensor& amax, const quant::QuantParams& params);

/// fake_quantize() of fake_quantize.h in one pass, and its gradient in another with a bit kept
/// for each element. Does not wait for the device: a negative range, or a negative element when
/// unsigned, gives NaN instead of an error.
at::Tensor fake_quantize_on_cuda(const at::Tensor& x, const at::Tensor& amax,
                                 const quant::QuantParams& params, bool may_overwrite);

}  // namespace qdqbert::nn
