// Float matrix products on the CPU outside the graph of gradients. oneDNN's kernel is used where it was found
// at configure time: it is several times faster than the BLAS that a distribution's LibTorch runs on.
#pragma once

#include <ATen/ATen.h>

namespace qdqbert::nn {

/// Whether gemm() may be called.
bool has_gemm();

/// c [m, n] = a [m, k] * b + beta * c, row-major with leading dimensions; b is [k, n], or [n, k] when
/// `transpose_b`. Inside a parallel region it runs on the calling thread. Throws Error when the kernel
/// refuses.
struct GemmShape {
  int64_t m, n, k;
};
void gemm(GemmShape shape, const float* a, int64_t lda, const float* b, int64_t ldb, bool transpose_b,
          float beta, float* c, int64_t ldc);

/// x W^T + b for any leading dimensions of x; `bias` may be undefined. Differentiable; without gradients
/// float32 on the CPU goes through gemm().
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

/// Whether an operator on these tensors leaves no trace in the graph of gradients, they are float32 on the
/// CPU and products are not to be taken in BF16 (autocast.h).
bool is_plain_float(std::initializer_list<at::Tensor> tensors);

}  // namespace qdqbert::nn
