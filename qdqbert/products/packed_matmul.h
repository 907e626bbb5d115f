// Products with one weight again and again.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "qdqbert/products/products.h"

namespace qdqbert::products {

/// A float weight as it lies in memory: `w[k][n]` at k * k_stride + n * n_stride.
struct FloatWeight {
  const float* data;
  size_t k, n;
  size_t k_stride, n_stride;
};

/// c = a . w + bias for a weight in the layout that the multiplication likes best. Immutable but for a table
/// of prepared shapes behind a lock.
class PackedMatmul {
 public:
  /// `bias` has n values, or is null. kBFloat16 rounds weight and rows.
  PackedMatmul(const FloatWeight& weight, const float* bias, Precision precision);
  ~PackedMatmul();
  PackedMatmul(PackedMatmul&&) noexcept;
  PackedMatmul& operator=(PackedMatmul&&) noexcept;

  /// What multiplies exactly `rows` rows with these strides. Throws SystemError when oneDNN cannot make it.
  struct Shape;
  std::shared_ptr<const Shape> shape(size_t rows, size_t lda, size_t ldc) const;
  size_t scratch_bytes(const Shape& shape) const;
  /// `scratch` is 64-byte aligned and belongs to the caller. Throws SystemError when oneDNN has no memory.
  void multiply(const Shape& shape, const float* a, float* c, std::byte* scratch) const;

  std::string name() const;  ///< "oneDNN f32 (brg:avx512_core)"
  size_t bytes() const;      ///< of the packed weight

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qdqbert::products
