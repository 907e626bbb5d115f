#include "qdqbert/nn/gemm.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>

#include <ATen/Parallel.h>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/base/error.h"
#include "qdqbert/nn/autocast.h"

#ifdef QDQBERT_HAS_DNNL
#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>
#endif

namespace qdqbert::nn {

bool is_plain_float(std::initializer_list<at::Tensor> tensors) {
  if (Bf16Autocast::is_on()) return false;
  const bool grad_mode = at::GradMode::is_enabled();
  for (const at::Tensor& tensor : tensors) {
    if (!tensor.defined()) continue;
    if (tensor.scalar_type() != at::kFloat || !tensor.device().is_cpu()) return false;
    if (grad_mode && tensor.requires_grad()) return false;
  }
  return true;
}

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
  const int64_t blocks = std::max<int64_t>(1, (rows + kRows - 1) / kRows);
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

#ifdef QDQBERT_HAS_DNNL

namespace {

// How a library splits a product, and with it the order of sums, depends on its number of threads.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

void check(dnnl_status_t status, GemmShape shape) {
  if (status != dnnl_success) {
    fail<Error>("[gemm] oneDNN refuses the product of {} x {} and {} x {} with status {}", shape.m, shape.k,
                shape.k, shape.n, static_cast<int>(status));
  }
}

int64_t size_of(Precision precision) {
  return precision == Precision::kFloat32 ? 4 : 2;
}

// Element (row, column).
Operand moved(Operand x, int64_t row, int64_t column, Precision precision) {
  const int64_t elements = x.transposed ? column * x.ld + row : row * x.ld + column;
  return {static_cast<const char*>(x.data) + elements * size_of(precision), x.ld, x.transposed};
}

// Primitives of oneDNN, kept by the thread that made them.
class Bf16Products {
 public:
  void run(GemmShape s, Operand a, Operand b, const float* bias, float* c) {
    const Key key = {s.m, s.n, s.k, a.ld, a.transposed, b.ld, b.transposed, bias != nullptr};
    auto found = known_.find(key);
    if (found == known_.end()) {
      if (known_.size() >= kMostKnown) known_.clear();
      found = known_.emplace(key, make(s, a, b, bias != nullptr)).first;
    }
    Product& product = found->second;
    product.a.set_data_handle(const_cast<void*>(a.data));
    product.b.set_data_handle(const_cast<void*>(b.data));
    product.c.set_data_handle(c);
    std::unordered_map<int, dnnl::memory> arguments = {
        {DNNL_ARG_SRC, product.a}, {DNNL_ARG_WEIGHTS, product.b}, {DNNL_ARG_DST, product.c}};
    if (bias != nullptr) {
      product.bias.set_data_handle(const_cast<float*>(bias));
      arguments.emplace(DNNL_ARG_BIAS, product.bias);
    }
    product.primitive.execute(stream_, arguments);
    stream_.wait();
  }

 private:
  // Lengths of texts vary, so shapes come and go.
  static constexpr size_t kMostKnown = 1024;
  using Key = std::array<int64_t, 8>;
  struct Product {
    dnnl::matmul primitive;
    dnnl::memory a, b, c, bias;
  };

  static dnnl::memory::desc describe(int64_t rows, int64_t columns, Operand x, dnnl::memory::data_type type) {
    return {{rows, columns}, type, x.transposed ? dnnl::memory::dims{1, x.ld} : dnnl::memory::dims{x.ld, 1}};
  }

  Product make(GemmShape s, Operand a, Operand b, bool has_bias) const {
    using Type = dnnl::memory::data_type;
    const auto of_a = describe(s.m, s.k, a, Type::bf16), of_b = describe(s.k, s.n, b, Type::bf16);
    const auto of_c = describe(s.m, s.n, {nullptr, s.n}, Type::f32),
               of_bias = describe(1, s.n, {nullptr, s.n}, Type::f32);
    const dnnl::matmul::desc operation =
        has_bias ? dnnl::matmul::desc(of_a, of_b, of_bias, of_c) : dnnl::matmul::desc(of_a, of_b, of_c);
    const auto nothing = [&](const dnnl::memory::desc& shape) {
      return dnnl::memory(shape, engine_, DNNL_MEMORY_NONE);
    };
    return {dnnl::matmul(dnnl::matmul::primitive_desc(operation, engine_)), nothing(of_a), nothing(of_b),
            nothing(of_c), nothing(of_bias)};
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::map<Key, Product> known_;
};

// One part of a product, on the calling thread; c is contiguous.
void multiply_part(GemmShape s, Operand a, Operand b, const float* bias, float* c, Precision precision) {
  const OneThread one;
  if (precision == Precision::kFloat32) {
    if (bias != nullptr) {
      for (int64_t row = 0; row < s.m; ++row) std::copy(bias, bias + s.n, c + row * s.n);
    }
    check(dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', s.m, s.n, s.k, 1.0F,
                     static_cast<const float*>(a.data), a.ld, static_cast<const float*>(b.data), b.ld,
                     bias != nullptr ? 1.0F : 0.0F, c, s.n),
          s);
    return;
  }
  thread_local Bf16Products products;
  try {
    products.run(s, a, b, bias, c);
  } catch (const dnnl::error& error) {
    check(error.status, s);
  }
}

// A part is large enough that packing its operands costs little beside the product, and there are enough of
// them for the threads of one processor.
int64_t part_size(int64_t whole, int64_t most_parts, int64_t smallest) {
  const int64_t even = (whole + most_parts - 1) / most_parts, rounded = (even + 15) / 16 * 16;
  return std::max(smallest, rounded);
}

}  // namespace

bool has_gemm() {
  return true;
}

bool has_bf16_gemm() {
  return cpu_features().avx512_bf16;
}

void gemm(GemmShape shape, const float* a, int64_t lda, const float* b, int64_t ldb, bool transpose_b,
          float beta, float* c, int64_t ldc) {
  check(
      dnnl_sgemm('N', transpose_b ? 'T' : 'N', shape.m, shape.n, shape.k, 1.0F, a, lda, b, ldb, beta, c, ldc),
      shape);
}

void multiply_here(GemmShape s, Operand a, Operand b, float* c, int64_t ldc) {
  const OneThread one;
  check(dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', s.m, s.n, s.k, 1.0F,
                   static_cast<const float*>(a.data), a.ld, static_cast<const float*>(b.data), b.ld, 0.0F, c,
                   ldc),
        s);
}

void multiply(GemmShape s, Operand a, Operand b, const float* bias, float* c, Precision precision) {
  // A sum over many rows with a small result, as gradients of weights are, is cut along the sum.
  constexpr int64_t kLongSum = 2048;
  if (s.k < kLongSum || s.k <= s.m || bias != nullptr) {
    const int64_t part_rows = part_size(s.m, 16, 64), parts = (s.m + part_rows - 1) / part_rows;
    at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        const int64_t row = part * part_rows, rows = std::min(part_rows, s.m - row);
        multiply_part({rows, s.n, s.k}, moved(a, row, 0, precision), b, bias, c + row * s.n, precision);
      }
    });
    return;
  }
  const int64_t terms = part_size(s.k, 8, 512), parts = (s.k + terms - 1) / terms, count = s.m * s.n;
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

#else

bool has_gemm() {
  return false;
}

bool has_bf16_gemm() {
  return false;
}

void gemm(GemmShape, const float*, int64_t, const float*, int64_t, bool, float, float*, int64_t) {
  fail<Error>("[gemm] this build has no oneDNN");
}

void multiply_here(GemmShape, Operand, Operand, float*, int64_t) {
  fail<Error>("[gemm] this build has no oneDNN");
}

void multiply(GemmShape, Operand, Operand, const float*, float*, Precision) {
  fail<Error>("[gemm] this build has no oneDNN");
}

#endif

}  // namespace qdqbert::nn
