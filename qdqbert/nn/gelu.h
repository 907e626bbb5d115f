// The Gaussian error linear unit, forward and backward in one pass each.
#pragma once

#include <ATen/ATen.h>

namespace qdqbert::nn {

/// x Phi(x); differentiable. float32 on the CPU by kernels/rows.h, other tensors by LibTorch's operator. With
/// `may_overwrite` and without gradients the result may be written over x.
at::Tensor gelu(const at::Tensor& x, bool may_overwrite = false);

}  // namespace qdqbert::nn
