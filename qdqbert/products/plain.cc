// For builds without oneDNN, whose OpenMP runtime ThreadSanitizer cannot follow: the same results, slowly.
#include <algorithm>
#include <bit>
#include <vector>

#include "qdqbert/products/packed_matmul.h"

namespace qdqbert::products {

namespace {

/// Element (row, column) is at row * row_stride + column * column_stride.
template <class T>
struct View {
  explicit View(Operand x)
      : data(static_cast<const T*>(x.data)),
        row_stride(x.transposed ? 1 : x.ld),
        column_stride(x.transposed ? x.ld : 1) {}
  T at(int64_t row, int64_t column) const { return data[row * row_stride + column * column_stride]; }

  const T* data;
  int64_t row_stride, column_stride;
};

/// A bfloat16 is the upper half of a float32.
float widened(uint16_t bfloat16) {
  return std::bit_cast<float>(uint32_t{bfloat16} << 16);
}

}  // namespace

std::string_view backend() {
  return "plain";
}

bool are_fast() {
  return false;
}

bool bfloat16_is_fast() {
  return false;
}

OneThread::OneThread() : before_(1) {}
OneThread::~OneThread() = default;

struct PackedMatmul::Shape {
  size_t rows, lda, ldc;
};

struct PackedMatmul::State {
  size_t k, n;
  std::vector<float> weight;  ///< [k][n]
  std::vector<float> bias;
};

PackedMatmul::PackedMatmul(const FloatWeight& weight, const float* bias, Precision)
    : state_(std::make_unique<State>()) {
  state_->k = weight.k;
  state_->n = weight.n;
  state_->weight.resize(weight.k * weight.n);
  for (size_t k = 0; k < weight.k; ++k)
    for (size_t n = 0; n < weight.n; ++n)
      state_->weight[k * weight.n + n] = weight.data[k * weight.k_stride + n * weight.n_stride];
  state_->bias.resize(weight.n);
  if (bias) std::copy_n(bias, weight.n, state_->bias.begin());
}

PackedMatmul::~PackedMatmul() = default;
PackedMatmul::PackedMatmul(PackedMatmul&&) noexcept = default;
PackedMatmul& PackedMatmul::operator=(PackedMatmul&&) noexcept = default;

std::shared_ptr<const PackedMatmul::Shape> PackedMatmul::shape(size_t rows, size_t lda, size_t ldc) const {
  return std::make_shared<const Shape>(Shape{rows, lda, ldc});
}

size_t PackedMatmul::scratch_bytes(const Shape&) const {
  return 0;
}

void PackedMatmul::multiply(const Shape& shape, const float* a, float* c, std::byte*) const {
  const size_t n = state_->n;
  for (size_t m = 0; m < shape.rows; ++m) {
    float* row = c + m * shape.ldc;
    std::copy_n(state_->bias.begin(), n, row);
    for (size_t k = 0; k < state_->k; ++k) {
      const float factor = a[m * shape.lda + k];
      const float* w = state_->weight.data() + k * n;
      for (size_t j = 0; j < n; ++j) row[j] += factor * w[j];
    }
  }
}

std::string PackedMatmul::name() const {
  return "plain f32";
}

size_t PackedMatmul::bytes() const {
  return state_->weight.size() * sizeof(float);
}

void multiply(Shape s, Operand a, Operand b, float factor, bool adds, float* c, int64_t ldc) {
  const View<float> left(a), right(b);
  for (int64_t i = 0; i < s.m; ++i)
    for (int64_t j = 0; j < s.n; ++j) {
      float sum = 0;
      for (int64_t l = 0; l < s.k; ++l) sum += left.at(i, l) * right.at(l, j);
      float& to = c[i * ldc + j];
      to = adds ? to + factor * sum : factor * sum;
    }
}

void multiply_bfloat16(Shape s, Operand a, Operand b, const float* bias, float* c) {
  const View<uint16_t> left(a), right(b);
  for (int64_t i = 0; i < s.m; ++i)
    for (int64_t j = 0; j < s.n; ++j) {
      float sum = bias != nullptr ? bias[j] : 0;
      for (int64_t l = 0; l < s.k; ++l) sum += widened(left.at(i, l)) * widened(right.at(l, j));
      c[i * s.n + j] = sum;
    }
}

}  // namespace qdqbert::products
