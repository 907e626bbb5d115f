#include "qdqbert/engine/float/linear.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "qdqbert/base/error.h"
#include "qdqbert/base/math.h"
#include "qdqbert/engine/integer/arena.h"

namespace qdqbert::engine {

namespace {

using products::Precision;

/// Rows of one task: enough to reuse a panel of the weight from the first-level cache, few enough to share
/// 128 rows between two workers.
constexpr size_t kBlock = 64;
/// Blocks are multiples of this, so that texts of every length need few compiled shapes.
constexpr size_t kUnit = 8;

Precision possible(Precision wanted) {
  return wanted == Precision::kBFloat16 && !products::bfloat16_is_fast() ? Precision::kFloat32 : wanted;
}

const char* reason_for(Precision wanted) {
  if (possible(wanted) == wanted) return "";
  return products::are_fast() ? "this processor has no fast bfloat16 products"
                              : "this build has no oneDNN, which has fast bfloat16 products";
}

}  // namespace

FloatLinear::FloatLinear(const products::FloatWeight& weight, std::span<const float> bias,
                         Precision precision)
    : k_(weight.k),
      n_(weight.n),
      note_(reason_for(precision)),
      matmul_(weight, bias.empty() ? nullptr : bias.data(), possible(precision)) {}

void FloatLinear::run(WorkerPool& pool, const float* a, size_t lda, size_t rows, float* c, size_t ldc,
                      const RowsDone& done) const {
  if (rows == 0) return;
  const auto workers = static_cast<size_t>(pool.threads());
  const size_t block = std::min(kBlock, round_up(divide_up(rows, workers), kUnit));
  const size_t blocks = divide_up(rows, block);
  // The last block is computed in a buffer of a whole number of units when it does not fill one.
  const size_t tail = rows - (blocks - 1) * block;
  const size_t tail_rows = round_up(tail, kUnit);
  const bool buffered = tail != tail_rows;
  const auto whole = matmul_.shape(block, lda, ldc);
  const auto last = buffered ? matmul_.shape(tail_rows, k_, n_) : matmul_.shape(tail_rows, lda, ldc);
  const size_t bytes = round_up(std::max(matmul_.scratch_bytes(*whole), matmul_.scratch_bytes(*last)), 64);
  const size_t tail_a = round_up(buffered ? tail_rows * k_ : 0, 16);
  AlignedBuffer<std::byte> scratch(bytes * workers);
  AlignedBuffer<float> tail_buffer(buffered ? tail_a + tail_rows * n_ : 0);
  std::atomic<bool> failed{false};
  pool.run(blocks, [&](size_t task, int worker) {
    std::byte* own = scratch.data() + static_cast<size_t>(worker) * bytes;
    const size_t first = task * block;
    const bool is_last = task + 1 == blocks;
    try {
      const products::OneThread one;
      if (is_last && buffered) {
        float* in = tail_buffer.data();
        float* out = in + tail_a;
        for (size_t m = 0; m < tail; ++m) std::memcpy(in + m * k_, a + (first + m) * lda, k_ * sizeof(float));
        std::fill(in + tail * k_, in + tail_rows * k_, 0.0f);
        matmul_.multiply(*last, in, out, own);
        for (size_t m = 0; m < tail; ++m)
          std::memcpy(c + (first + m) * ldc, out + m * n_, n_ * sizeof(float));
      } else {
        matmul_.multiply(is_last ? *last : *whole, a + first * lda, c + first * ldc, own);
      }
    } catch (const std::exception&) {
      failed.store(true, std::memory_order_relaxed);
      return;
    }
    if (done) done(first, is_last ? tail : block, worker);
  });
  if (failed.load()) fail<SystemError>("[memory] a product of {} by {} by {} ran out of it", rows, k_, n_);
}

}  // namespace qdqbert::engine
