// y = x W + b in float32 or bfloat16 over rows of a packed batch. Outside of the bit promise:
// the order of sums is the backend's.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "qdqbert/engine/worker_pool.h"
#include "qdqbert/products/packed_matmul.h"

namespace qdqbert::engine {

class FloatLinear {
 public:
  /// Called on the worker that has just written rows [first, first + rows) of c, while they are in its cache:
  /// the place for activations, residuals and norms. Must not throw.
  using RowsDone = std::function<void(size_t first, size_t rows, int worker)>;

  /// Packs the weight, which is not read any more afterwards. `bias` has n values or none.
  /// bfloat16 where the processor has no fast instructions for it becomes float32, and note() says
  /// so. Throws SystemError when memory runs out.
  FloatLinear(const products::FloatWeight& weight, std::span<const float> bias,
              products::Precision precision = products::Precision::kFloat32);

  /// a: [rows][lda], c: [rows][ldc], both float32 and not overlapping; any number of rows. Many threads may
  /// call this on the same object, each with a pool of its own. Throws SystemError when memory runs out.
  void run(WorkerPool& pool, const float* a, size_t lda, size_t rows, float* c, size_t ldc,
           const RowsDone& done = {}) const;

  size_t k() const { return k_; }
  size_t n() const { return n_; }
  size_t weight_bytes() const { return matmul_.bytes(); }
  std::string kernel() const { return matmul_.name(); }  ///< for PlanStep::kernel
  const std::string& note() const { return note_; }      ///< for PlanStep::note

 private:
  size_t k_, n_;
  std::string note_;
  products::PackedMatmul matmul_;
};

}  // namespace qdqbert::engine
