// Float matrix products on the CPU. oneDNN's kernels are used where it was found at configure time: they are
// several times faster than the BLAS that a distribution's LibTorch runs on.
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

/// A row-major matrix, or its transpose: data[row * ld + column] is element (row, column), or (column, row)
/// when `transposed`.
struct Operand {
  const void* data;
  int64_t ld;
  bool transposed = false;
};

enum class Precision {
  kFloat32,
  kBf16,  ///< operands are BF16, sums and the result float32
};

/// c [m, n] = a [m, k] b [k, n] + `bias` [n] in every row (nullptr: none), c contiguous. The same bits for
/// any number of threads: the work is cut into parts by its shape alone, long sums into partial ones that are
/// added in order. Needs has_gemm(), and has_bf16_gemm() for kBf16.
void multiply(GemmShape shape, Operand a, Operand b, const float* bias, float* c,
              Precision precision = Precision::kFloat32);
/// c [m, n] = a b in float32 on the calling thread alone, c with its leading dimension.
void multiply_here(GemmShape shape, Operand a, Operand b, float* c, int64_t ldc);
/// Whether this processor multiplies BF16 without converting it first.
bool has_bf16_gemm();

/// sum[j] = the sum over rows of x [rows, columns], contiguous; the same bits for any number of threads.
void sum_rows(const float* x, int64_t rows, int64_t columns, float* sum);

/// Whether an operator on these tensors leaves no trace in the graph of gradients, they are float32 on the
/// CPU and products are not to be taken in BF16 (autocast.h).
bool is_plain_float(std::initializer_list<at::Tensor> tensors);

}  // namespace qdqbert::nn
