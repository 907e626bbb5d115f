#include "qdqbert/engine/reference/gemm.h"

#include <cstring>
#include <memory>

#include "qdqbert/base/math.h"
#include "qdqbert/engine/reference/strided.h"

namespace qdqbert::engine::reference {

namespace {

// Four lanes are what every x86-64 has; each lane is one column, so the order of a sum does not change.
typedef float Lanes __attribute__((vector_size(16)));
constexpr int64_t kLanes = 4, kRows = 4, kColumns = 8;

Lanes load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof(lanes));
  return lanes;
}

/// kColumns columns of `b`, row after row, zeros past `n`.
void pack(const float* b, int64_t ldb, int64_t k, int64_t n, float* panel) {
  for (int64_t l = 0; l < k; ++l) {
    for (int64_t j = 0; j < kColumns; ++j) panel[l * kColumns + j] = j < n ? b[l * ldb + j] : 0.0f;
  }
}

template <int64_t kTile>
void tile(int64_t k, const float* a, int64_t lda, const float* panel, int64_t n, float* c, int64_t ldc) {
  Lanes sums[kTile][kColumns / kLanes] = {};
  for (int64_t l = 0; l < k; ++l) {
    const Lanes b0 = load(panel + l * kColumns), b1 = load(panel + l * kColumns + kLanes);
    for (int64_t i = 0; i < kTile; ++i) {
      const float value = a[i * lda + l];
      const Lanes spread = {value, value, value, value};
      sums[i][0] += spread * b0;
      sums[i][1] += spread * b1;
    }
  }
  for (int64_t i = 0; i < kTile; ++i) {
    float row[kColumns];
    std::memcpy(row, sums[i], sizeof(row));
    std::memcpy(c + i * ldc, row, static_cast<size_t>(n) * sizeof(float));
  }
}

}  // namespace

void multiply(const Call& call, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
              int64_t ldb, float* c, int64_t ldc) {
  const int64_t panels = divide_up(n, kColumns);
  if (m == 0 || n == 0) return;
  WorkerPool* pool = call.environment.pool;
  const bool shared = pool && pool->threads() > 1 && m * n * std::max<int64_t>(k, 1) > (1 << 18);
  const int64_t scratch = k * kColumns;
  const WritableTensor panel_memory =
      call.allocate(DType::kF32, {shared ? pool->threads() : 1, std::max<int64_t>(scratch, 1)});
  auto* memory = reinterpret_cast<float*>(panel_memory.data);
  const auto one_panel = [&](size_t index, int worker) {
    float* panel = memory + worker * scratch;
    const int64_t j = static_cast<int64_t>(index) * kColumns, columns = std::min(kColumns, n - j);
    pack(b + j, ldb, k, columns, panel);
    int64_t i = 0;
    for (; i + kRows <= m; i += kRows) tile<kRows>(k, a + i * lda, lda, panel, columns, c + i * ldc + j, ldc);
    for (; i < m; ++i) tile<1>(k, a + i * lda, lda, panel, columns, c + i * ldc + j, ldc);
  };
  if (shared) {
    pool->run(static_cast<size_t>(panels), one_panel);
  } else {
    for (int64_t panel = 0; panel < panels; ++panel) one_panel(static_cast<size_t>(panel), 0);
  }
}

MatMulShape matmul_shape(const Call& call, const Shape& a, const Shape& b) {
  if (a.empty() || b.empty())
    call.refuse("the shapes {} and {} do not fit: a scalar", to_string(a), to_string(b));
  Shape left = a, right = b;
  if (a.size() == 1) left.insert(left.begin(), 1);
  if (b.size() == 1) right.push_back(1);
  MatMulShape result{left[left.size() - 2], right.back(), left.back(), {}, {}, {}};
  if (right[right.size() - 2] != result.k)
    call.refuse("the shapes {} and {} do not fit", to_string(a), to_string(b));
  const Shape left_batch(left.begin(), left.end() - 2), right_batch(right.begin(), right.end() - 2);
  result.out = call.broadcast(left_batch, right_batch);
  // Far more matrices than elements: sizes of 0 elsewhere.
  const int64_t matrices = call.count(result.out);
  Shape out = result.out;
  if (a.size() > 1) out.push_back(result.m);
  if (b.size() > 1) out.push_back(result.n);
  if (call.count(out) != 0) {
    result.a_matrix.resize(static_cast<size_t>(matrices));
    result.b_matrix.resize(static_cast<size_t>(matrices));
    const StridedWalk<2> walk(
        result.out, {broadcast_strides(left_batch, result.out), broadcast_strides(right_batch, result.out)});
    const auto& steps = walk.inner_strides();
    walk.walk(0, matrices, [&](int64_t position, const std::array<int64_t, 2>& at, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        result.a_matrix[static_cast<size_t>(position + i)] = at[0] + i * steps[0];
        result.b_matrix[static_cast<size_t>(position + i)] = at[1] + i * steps[1];
      }
    });
  }
  result.out = std::move(out);
  return result;
}

}  // namespace qdqbert::engine::reference
