// Attention in float: softmax(Q K^T factor) V, per text and head, without padding.
#pragma once

#include <functional>
#include <span>

#include "qdqbert/engine/integer/attention.h"
#include "qdqbert/engine/kernels/rows.h"
#include "qdqbert/engine/worker_pool.h"

namespace qdqbert::engine {

/// Rows of `heads * head_size` floats, `ld` apart; the three may be columns of one buffer.
struct FloatRows {
  const float* data;
  size_t ld;
};

/// Terms by the distance of query and key: q . e[distance], and of keys k .
/// e[distance], on rows before quantization.
struct FloatDistances {
  const float* table = nullptr;  ///< [2 * positions - 1][head size]; null: there are none
  size_t positions = 0;          ///< row of distance 0 is positions - 1
  bool by_key = false;
  FloatRows query{}, key{};
};

struct FloatAttention {
  size_t heads = 0, head_size = 0;
  float score_factor = 1;  ///< usually 1 / sqrt(head size)
  bool causal = false;     ///< a query sees itself and what is before it
  FloatDistances distances;
  /// Changes probabilities before they meet V (fake quantization): `rows` rows of `keys` floats, `ld` apart.
  /// Runs on all workers at once; must not throw.
  std::function<void(float* probabilities, size_t rows, size_t keys, size_t ld)> on_probabilities;
};

/// context: [T][ldcontext], T the end of the last segment. Segments do not overlap and have no length 0.
/// `sources`: which keys and values the text of each segment sees; those of the segment itself, or of another
/// batch. Throws SystemError when memory runs out.
void attend_float(WorkerPool& pool, const RowKernels& kernels, const FloatAttention& attention,
                  std::span<const Segment> segments, std::span<const Segment> sources, FloatRows query,
                  FloatRows key, FloatRows value, float* context, size_t ldcontext);

}  // namespace qdqbert::engine
