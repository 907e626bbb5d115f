// Float matrix products of one thread: oneDNN (onednn.cc), or plain loops in builds without it (plain.cc).
// QDQBERT_WITH_ONEDNN decides which of the two files is compiled.
#pragma once

#include <cstdint>
#include <string_view>

namespace qdqbert::products {

std::string_view backend();  ///< "oneDNN", "plain"
/// False in builds without oneDNN: plain loops give right results, slowly.
bool are_fast();
/// Whether products of bfloat16 are fast: oneDNN, on a processor that multiplies them faster than float32.
bool bfloat16_is_fast();

/// For as long as it lives, oneDNN uses no other thread than the calling one. How it splits a product, and
/// with it the order of sums, depends on its number of threads.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

enum class Precision : unsigned char {
  kFloat32,
  kBFloat16,  ///< operands in bfloat16, sums and results in float32
};

/// Sizes of c [m, n] = a [m, k] b [k, n].
struct Shape {
  int64_t m, n, k;
};

/// A row-major matrix, or its transpose: data[row * ld + column] is element (row, column),
/// or (column, row) when `transposed`.
struct Operand {
  const void* data;
  int64_t ld;
  bool transposed = false;
};

/// c = factor a b, or c + factor a b when it `adds`; all float32, c [m, n] row-major with its leading
/// dimension. Throws SystemError when oneDNN refuses.
void multiply(Shape shape, Operand a, Operand b, float factor, bool adds, float* c, int64_t ldc);

/// c = a b + bias: a and b bfloat16, bias [n] (nullptr: none) and c [m, n], contiguous, float32. Throws
/// SystemError when oneDNN refuses.
void multiply_bfloat16(Shape shape, Operand a, Operand b, const float* bias, float* c);

}  // namespace qdqbert::products
