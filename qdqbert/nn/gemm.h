// Float matrix products on the CPU, over all of its threads. oneDNN's kernels are several times faster than
// the BLAS that a distribution's LibTorch runs on; builds without oneDNN leave products to LibTorch.
#pragma once

#include <ATen/ATen.h>

#include "qdqbert/products/products.h"

namespace qdqbert::nn {

/// Whether multiply() is to be called: with oneDNN. Without it LibTorch's operators are faster.
bool has_gemm();

using GemmShape = products::Shape;
using products::Operand;
using products::Precision;

/// c [m, n] = a [m, k] b [k, n] + `bias` [n] in every row (nullptr: none), c contiguous. The same bits for
/// any number of threads: the work is cut into parts by its shape alone, long sums into partial ones that are
/// added in order. Needs has_gemm(), and has_bf16_gemm() for kBFloat16.
void multiply(GemmShape shape, Operand a, Operand b, const float* bias, float* c,
              Precision precision = Precision::kFloat32);
/// c [m, n] = a b in float32 on the calling thread alone, c with its leading dimension.
void multiply_here(GemmShape shape, Operand a, Operand b, float* c, int64_t ldc);
/// Whether this processor multiplies BF16 without converting it first.
bool has_bf16_gemm();

/// sum[j] = the sum over rows of x [rows, columns], contiguous; the same bits for any number of threads.
void sum_rows(const float* x, int64_t rows, int64_t columns, float* sum);

}  // namespace qdqbert::nn
