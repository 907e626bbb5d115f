#include "qdqbert/engine/float/attention.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <limits>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/base/math.h"
#include "qdqbert/engine/integer/arena.h"
#include "qdqbert/products/products.h"

namespace qdqbert::engine {

namespace {

/// Query rows per block: 64 rows of 384 scores are 98 KB, which stay in the second-level cache.
constexpr size_t kQueryRows = 64;
constexpr size_t kLanes = 16;

/// exp(x - max) in place and returns 1 / sum.
float exponentiate(const RowKernels& kernels, float* row, size_t n) {
  std::array<float, kLanes> top;
  top.fill(-std::numeric_limits<float>::infinity());
  size_t j = 0;
  for (; j + kLanes <= n; j += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane) top[lane] = std::max(top[lane], row[j + lane]);
  for (; j < n; ++j) top[0] = std::max(top[0], row[j]);
  const float max = *std::max_element(top.begin(), top.end());
  for (j = 0; j < n; ++j) row[j] -= max;
  kernels.exp_nonpositive(row, n, row);
  std::array<float, kLanes> sum{};
  for (j = 0; j + kLanes <= n; j += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane) sum[lane] += row[j + lane];
  for (; j < n; ++j) sum[0] += row[j];
  float total = 0;
  for (const float lane : sum) total += lane;
  return 1.0f / total;
}

/// A row-major matrix with its leading dimension.
products::Operand rows_at(const float* data, size_t ld, bool transposed = false) {
  return {data, static_cast<int64_t>(ld), transposed};
}

/// c [m][n] = factor * a [m][k] . b.
void multiply(size_t m, size_t n, size_t k, float factor, products::Operand a, products::Operand b, float* c,
              size_t ldc) {
  products::multiply({static_cast<int64_t>(m), static_cast<int64_t>(n), static_cast<int64_t>(k)}, a, b,
                     factor, false, c, static_cast<int64_t>(ldc));
}

/// Queries [first, first + rows) of one text and head against all its keys.
struct Block {
  size_t begin, first, rows, keys, column, head_size;
};

/// Adds the terms by distance, times the factor, to scores. Throws what the products throw.
void add_distances(const FloatDistances& terms, const Block& b, float factor, float* scores, size_t ld) {
  const size_t middle = terms.positions - 1, d = b.head_size;
  // Row of the table for query i and key j: i - j + middle.
  const size_t lowest = b.first + middle - (b.keys - 1), count = b.rows + b.keys - 1;
  const float* table = terms.table + lowest * d;
  std::vector<float> by_distance(std::max(b.rows, terms.by_key ? b.keys : 0) * count);
  const float* q = terms.query.data + (b.begin + b.first) * terms.query.ld + b.column;
  multiply(b.rows, count, d, factor, rows_at(q, terms.query.ld), rows_at(table, d, true), by_distance.data(),
           count);
  for (size_t i = 0; i < b.rows; ++i)
    for (size_t j = 0; j < b.keys; ++j) scores[i * ld + j] += by_distance[i * count + i + b.keys - 1 - j];
  if (!terms.by_key) return;
  const float* k = terms.key.data + b.begin * terms.key.ld + b.column;
  multiply(b.keys, count, d, factor, rows_at(k, terms.key.ld), rows_at(table, d, true), by_distance.data(),
           count);
  for (size_t i = 0; i < b.rows; ++i)
    for (size_t j = 0; j < b.keys; ++j) scores[i * ld + j] += by_distance[j * count + i + b.keys - 1 - j];
}

void scale_row(float* row, size_t n, float factor) {
  for (size_t j = 0; j < n; ++j) row[j] *= factor;
}

}  // namespace

void attend_float(WorkerPool& pool, const RowKernels& kernels, const FloatAttention& attention,
                  std::span<const Segment> segments, std::span<const Segment> sources, FloatRows query,
                  FloatRows key, FloatRows value, float* context, size_t ldcontext) {
  size_t longest = 0, blocks_per_head = 0, most_keys = 0;
  for (const Segment& segment : segments) longest = std::max(longest, segment.length);
  for (const Segment& source : sources) most_keys = std::max(most_keys, source.length);
  blocks_per_head = divide_up(longest, kQueryRows);
  const size_t ld = round_up(most_keys, kLanes);
  const size_t per_worker = std::min(longest, kQueryRows) * ld;
  AlignedBuffer<float> scores(per_worker * static_cast<size_t>(pool.threads()));
  const size_t d = attention.head_size;
  std::atomic<bool> failed{false};
  pool.run(segments.size() * attention.heads * blocks_per_head, [&](size_t task, int worker) {
    const Segment segment = segments[task / (attention.heads * blocks_per_head)];
    const Segment source = sources[task / (attention.heads * blocks_per_head)];
    const size_t head = task / blocks_per_head % attention.heads;
    const size_t first = task % blocks_per_head * kQueryRows;
    if (first >= segment.length) return;
    const size_t rows = std::min(kQueryRows, segment.length - first), keys = source.length;
    float* s = scores.data() + static_cast<size_t>(worker) * per_worker;
    const float* q = query.data + (segment.begin + first) * query.ld + head * d;
    const float* k = key.data + source.begin * key.ld + head * d;
    const float* v = value.data + source.begin * value.ld + head * d;
    float* out = context + (segment.begin + first) * ldcontext + head * d;
    try {
      const products::OneThread one;
      multiply(rows, keys, d, attention.score_factor, rows_at(q, query.ld), rows_at(k, key.ld, true), s, ld);
      if (attention.distances.table != nullptr)
        add_distances(attention.distances, {segment.begin, first, rows, keys, head * d, d},
                      attention.score_factor, s, ld);
      std::array<float, kQueryRows> inverse_sum;
      for (size_t m = 0; m < rows; ++m) {
        const size_t visible = attention.causal ? first + m + 1 : keys;
        inverse_sum[m] = exponentiate(kernels, s + m * ld, visible);
        std::fill(s + m * ld + visible, s + m * ld + keys, 0.0f);
      }
      if (attention.on_probabilities) {
        for (size_t m = 0; m < rows; ++m) scale_row(s + m * ld, keys, inverse_sum[m]);
        attention.on_probabilities(s, rows, keys, ld);
      }
      multiply(rows, d, keys, 1.0f, rows_at(s, ld), rows_at(v, value.ld), out, ldcontext);
      // Fewer products than on the probabilities: a head is narrower than a text is long.
      if (!attention.on_probabilities)
        for (size_t m = 0; m < rows; ++m) scale_row(out + m * ldcontext, d, inverse_sum[m]);
    } catch (const std::exception&) {
      failed.store(true, std::memory_order_relaxed);
    }
  });
  if (failed.load()) fail<SystemError>("[memory] attention over {} tokens ran out of it", longest);
}

}  // namespace qdqbert::engine
