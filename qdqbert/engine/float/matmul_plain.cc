// For builds without oneDNN, whose OpenMP runtime ThreadSanitizer cannot follow: the same results, slowly.
#include <algorithm>
#include <vector>

#include "qdqbert/engine/float/matmul.h"

namespace qdqbert::engine {

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

PackedMatmul::PackedMatmul(const FloatWeight& weight, const float* bias, MatmulPrecision)
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

void multiply_once(bool transposed, size_t m, size_t n, size_t k, float factor, const float* a, size_t lda,
                   const float* b, size_t ldb, float* c, size_t ldc) {
  for (size_t i = 0; i < m; ++i)
    for (size_t j = 0; j < n; ++j) {
      float sum = 0;
      for (size_t l = 0; l < k; ++l) sum += a[i * lda + l] * (transposed ? b[j * ldb + l] : b[l * ldb + j]);
      c[i * ldc + j] = factor * sum;
    }
}

}  // namespace qdqbert::engine
