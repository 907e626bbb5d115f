// Float matrix products of one thread: oneDNN, or plain loops in builds without it. Which of the two files is
// compiled is decided by QDQBERT_WITH_ONEDNN.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace qdqbert::engine {

/// A float weight as it lies in memory: `w[k][n]` at k * k_stride + n * n_stride.
struct FloatWeight {
  const float* data;
  size_t k, n;
  size_t k_stride, n_stride;
};

enum class MatmulPrecision : unsigned char {
  kFloat32,
  kBFloat16,  ///< operands rounded to bfloat16, sums and results in float32
};

/// Whether this processor multiplies bfloat16 faster than float32.
bool bfloat16_is_fast();

/// For as long as it lives, oneDNN uses no other thread than the calling one.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

/// c = a . w + bias for a weight in the layout that the multiplication likes best. Immutable but for a table
/// of prepared shapes behind a lock.
class PackedMatmul {
 public:
  /// `bias` has n values, or is null.
  PackedMatmul(const FloatWeight& weight, const float* bias, MatmulPrecision precision);
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

/// c[m][n] = factor * a[m][k] . b, with b [n][k] when `transposed`, else [k][n]. Throws SystemError when
/// oneDNN has no memory.
void multiply_once(bool transposed, size_t m, size_t n, size_t k, float factor, const float* a, size_t lda,
                   const float* b, size_t ldb, float* c, size_t ldc);

}  // namespace qdqbert::engine
