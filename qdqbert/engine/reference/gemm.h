// Matrix product on row-major floats.
#pragma once

#include <cstdint>

#include "qdqbert/engine/reference/call.h"

namespace qdqbert::engine::reference {

/// c[i][j] = sum over l of a[i][l] * b[l][j], l ascending, one after the other;
/// `lda`, `ldb` and `ldc` are the distances of rows.
void multiply(const Call& call, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
              int64_t ldb, float* c, int64_t ldc);

/// The numpy rule of MatMul for two shapes, one-dimensional operands included: `a` as [batch..., m, k], `b`
/// as [batch..., k, n], and where each matrix of the batch begins, in matrices.
struct MatMulShape {
  int64_t m, n, k;
  Shape out;
  std::vector<int64_t> a_matrix, b_matrix;
};
MatMulShape matmul_shape(const Call& call, const Shape& a, const Shape& b);

}  // namespace qdqbert::engine::reference
