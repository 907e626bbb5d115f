#include "qdqbert/nn/gemm.h"

#include <algorithm>

#include <ATen/Parallel.h>

#include "qdqbert/base/math.h"

namespace qdqbert::nn {

namespace {

// parts[p * count + i], p in order, into sum[i].
void add_parts(const float* parts, int64_t part_count, int64_t count, float* sum) {
  at::parallel_for(0, count, 1 << 14, [&](int64_t begin, int64_t end) {
    std::copy(parts + begin, parts + end, sum + begin);
    for (int64_t p = 1; p < part_count; ++p) {
      const float* part = parts + p * count;
      for (int64_t i = begin; i < end; ++i) sum[i] += part[i];
    }
  });
}

}  // namespace

void sum_rows(const float* x, int64_t rows, int64_t columns, float* sum) {
  constexpr int64_t kRows = 256;
  const int64_t blocks = std::max<int64_t>(1, divide_up(rows, kRows));
  const at::Tensor parts = at::zeros({blocks, columns}, at::kFloat);
  float* first = parts.data_ptr<float>();
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float* part = first + block * columns;
      for (int64_t row = block * kRows; row < std::min(rows, (block + 1) * kRows); ++row) {
        const float* from = x + row * columns;
        for (int64_t j = 0; j < columns; ++j) part[j] += from[j];
      }
    }
  });
  add_parts(first, blocks, columns, sum);
}

namespace {

int64_t size_of(Precision precision) {
  return precision == Precision::kFloat32 ? 4 : 2;
}

// Element (row, column).
Operand moved(Operand x, int64_t row, int64_t column, Precision precision) {
  const int64_t elements = x.transposed ? column * x.ld + row : row * x.ld + column;
  return {static_cast<const char*>(x.data) + elements * size_of(precision), x.ld, x.transposed};
}

// One part of a product, on the calling thread; c is contiguous.
void multiply_part(GemmShape s, Operand a, Operand b, const float* bias, float* c, Precision precision) {
  const products::OneThread one;
  if (precision == Precision::kBFloat16) {
    products::multiply_bfloat16(s, a, b, bias, c);
    return;
  }
  if (bias != nullptr) {
    for (int64_t row = 0; row < s.m; ++row) std::copy(bias, bias + s.n, c + row * s.n);
  }
  products::multiply(s, a, b, 1.0F, bias != nullptr, c, s.n);
}

// A part is large enough that packing its operands costs little beside the product, and there are enough of
// them for the threads of one processor.
int64_t part_size(int64_t whole, int64_t most_parts, int64_t smallest) {
  return std::max(smallest, round_up(divide_up(whole, most_parts), 16));
}

}  // namespace

bool has_gemm() {
  return products::are_fast();
}

bool has_bf16_gemm() {
  return products::bfloat16_is_fast();
}

void multiply_here(GemmShape s, Operand a, Operand b, float* c, int64_t ldc) {
  const products::OneThread one;
  products::multiply(s, a, b, 1.0F, false, c, ldc);
}

void multiply(GemmShape s, Operand a, Operand b, const float* bias, float* c, Precision precision) {
  // A sum over many rows with a small result, as gradients of weights are, is cut along the sum.
  constexpr int64_t kLongSum = 2048;
  if (s.k < kLongSum || s.k <= s.m || bias != nullptr) {
    const int64_t part_rows = part_size(s.m, 16, 64), parts = divide_up(s.m, part_rows);
    at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        const int64_t row = part * part_rows, rows = std::min(part_rows, s.m - row);
        multiply_part({rows, s.n, s.k}, moved(a, row, 0, precision), b, bias, c + row * s.n, precision);
      }
    });
    return;
  }
  const int64_t terms = part_size(s.k, 8, 512), parts = divide_up(s.k, terms), count = s.m * s.n;
  const at::Tensor sums = at::empty({parts, count}, at::kFloat);
  float* first = sums.data_ptr<float>();
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t from = part * terms, length = std::min(terms, s.k - from);
      multiply_part({s.m, s.n, length}, moved(a, 0, from, precision), moved(b, from, 0, precision), nullptr,
                    first + part * count, precision);
    }
  });
  add_parts(first, parts, count, c);
}

}  // namespace qdqbert::nn
