// MatMul, Gemm and com.microsoft.FusedMatMul.
#include <type_traits>

#include "qdqbert/engine/reference/gemm.h"
#include "qdqbert/engine/reference/strided.h"
#include "qdqbert/engine/reference/types.h"
#include "qdqbert/engine/reference/zip.h"

namespace qdqbert::engine::reference {

namespace {

/// The types that nobody multiplies large matrices of.
template <class T>
void multiply_plain(int64_t m, int64_t n, int64_t k, const T* a, const T* b, T* c) {
  using Sum = typename std::conditional_t<std::is_floating_point_v<T>, std::type_identity<T>,
                                          std::make_unsigned<T>>::type;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      Sum sum{0};
      for (int64_t l = 0; l < k; ++l) sum += static_cast<Sum>(a[i * k + l]) * static_cast<Sum>(b[l * n + j]);
      c[i * n + j] = static_cast<T>(sum);
    }
}

Tensor product(const Call& call, const Tensor& a, const Tensor& b) {
  call.require_same_type(a, b);
  const MatMulShape shape = matmul_shape(call, a.shape, b.shape);
  const int64_t m = shape.m, n = shape.n, k = shape.k;
  WritableTensor out = call.allocate(a.dtype, shape.out);
  with_type(call, a.dtype, ArithmeticTypes{}, [&]<class T>(Type<T>) {
    const T *left = a.as<T>().data(), *right = b.as<T>().data();
    T* to = out.as<T>();
    // One weight for all matrices of the batch: one tall product.
    const bool tall = b.shape.size() == 2 && a.shape.size() > 2;
    const size_t matrices = tall ? std::min<size_t>(1, shape.a_matrix.size()) : shape.a_matrix.size();
    const int64_t rows = tall ? m * static_cast<int64_t>(shape.a_matrix.size()) : m;
    for (size_t i = 0; i < matrices; ++i) {
      const T* x = left + shape.a_matrix[i] * m * k;
      const T* y = right + shape.b_matrix[i] * k * n;
      T* z = to + static_cast<int64_t>(i) * m * n;
      if constexpr (std::is_same_v<T, float>)
        multiply(call, rows, n, k, x, k, y, n, z, n);
      else
        multiply_plain(rows, n, k, x, y, z);
    }
  });
  return out.tensor;
}

std::vector<Tensor> matmul(const Call& call) {
  return {product(call, call.input(0), call.input(1))};
}

Tensor transposed(const Call& call, const Tensor& x) {
  std::vector<size_t> order(x.shape.size());
  for (size_t d = 0; d < order.size(); ++d) order[d] = d;
  if (order.size() > 1) std::swap(order[order.size() - 1], order[order.size() - 2]);
  return permuted(call, x, order);
}

Tensor scaled(const Call& call, const Tensor& x, float factor) {
  if (factor == 1.0f) return x;
  call.require(x, DType::kF32, "a scaled operand");
  return map<float, float>(call, x, DType::kF32, [factor](float v) { return factor * v; });
}

std::vector<Tensor> gemm(const Call& call) {
  Tensor a = call.input(0), b = call.input(1);
  if (a.shape.size() != 2 || b.shape.size() != 2)
    call.refuse("the shapes {} and {} are no matrices", to_string(a.shape), to_string(b.shape));
  if (call.node.integer("transA", 0)) a = transposed(call, a);
  if (call.node.integer("transB", 0)) b = transposed(call, b);
  const Tensor out = scaled(call, product(call, a, b), call.node.real("alpha", 1));
  const Tensor* c = call.optional(2);
  if (!c) return {out};
  call.require_same_type(out, *c);
  if (call.broadcast(c->shape, out.shape) != out.shape)
    call.refuse("C of {} does not fit a result of {}", to_string(c->shape), to_string(out.shape));
  const Tensor addend = scaled(call, *c, call.node.real("beta", 1));
  Tensor sum;
  with_type(call, out.dtype, FloatTypes{}, [&]<class T>(Type<T>) {
    sum = zip<T, T, T>(call, out, addend, out.dtype, [](T x, T y) { return x + y; });
  });
  return {sum};
}

std::string check_gemm(const Node& node) {
  node.real("alpha", 1);
  node.real("beta", 1);
  return "";
}

std::vector<Tensor> fused(const Call& call) {
  Tensor a = call.input(0), b = call.input(1);
  if (call.node.integer("transA", 0)) a = transposed(call, a);
  if (call.node.integer("transB", 0)) b = transposed(call, b);
  return {scaled(call, product(call, a, b), call.node.real("alpha", 1))};
}

std::string check_fused(const Node& node) {
  if (node.integer("transBatchA", 0) || node.integer("transBatchB", 0))
    return "transBatchA and transBatchB are not supported";
  return "";
}

}  // namespace

std::span<const Operator> matmul_operators() {
  static const Operator rows[] = {
      {.name = "MatMul", .function = matmul, .inputs = 2},
      {.name = "Gemm", .function = gemm, .check = check_gemm, .inputs = 2},
      {.name = "com.microsoft.FusedMatMul", .function = fused, .check = check_fused, .inputs = 2},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
