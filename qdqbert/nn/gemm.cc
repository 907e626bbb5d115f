#include "qdqbert/nn/gemm.h"

#include <cstring>

#include <ATen/Parallel.h>

#include "qdqbert/base/error.h"
#include "qdqbert/nn/autocast.h"

#ifdef QDQBERT_HAS_DNNL
#include <oneapi/dnnl/dnnl.h>
#endif

namespace qdqbert::nn {
namespace {

// Rows of y start as the bias, onto which the product is added.
void fill_rows(const at::Tensor& y, const at::Tensor& bias) {
  const int64_t columns = bias.size(0), rows = y.numel() / columns;
  const float* values = bias.data_ptr<float>();
  float* first = y.data_ptr<float>();
  constexpr int64_t kElements = 65536;
  at::parallel_for(0, rows, std::max<int64_t>(1, kElements / columns), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      std::memcpy(first + row * columns, values, static_cast<size_t>(columns) * sizeof(float));
    }
  });
}

}  // namespace

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

#ifdef QDQBERT_HAS_DNNL

bool has_gemm() {
  return true;
}

void gemm(GemmShape shape, const float* a, int64_t lda, const float* b, int64_t ldb, bool transpose_b,
          float beta, float* c, int64_t ldc) {
  const dnnl_status_t status =
      dnnl_sgemm('N', transpose_b ? 'T' : 'N', shape.m, shape.n, shape.k, 1.0F, a, lda, b, ldb, beta, c, ldc);
  if (status != dnnl_success) {
    fail<Error>("[gemm] oneDNN refuses the product of {} x {} and {} x {} with status {}", shape.m, shape.k,
                shape.k, shape.n, static_cast<int>(status));
  }
}

#else

bool has_gemm() {
  return false;
}

void gemm(GemmShape, const float*, int64_t, const float*, int64_t, bool, float, float*, int64_t) {
  fail<Error>("[gemm] this build has no oneDNN");
}

#endif

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const bool fits = x.dim() >= 1 && x.size(-1) == weight.size(1) && x.numel() > 0;
  if (!has_gemm() || !fits || !weight.is_contiguous() || !is_plain_float({x, weight, bias})) {
    return at::linear(x, weight, bias);
  }
  const at::Tensor input = x.contiguous();
  std::vector<int64_t> shape = input.sizes().vec();
  const int64_t in = weight.size(1), out = weight.size(0), rows = input.numel() / in;
  shape.back() = out;
  at::Tensor y = at::empty(shape, input.options());
  if (bias.defined()) fill_rows(y, bias.contiguous());
  gemm({rows, out, in}, input.data_ptr<float>(), in, weight.data_ptr<float>(), in, /*transpose_b=*/true,
       bias.defined() ? 1.0F : 0.0F, y.data_ptr<float>(), out);
  return y;
}

}  // namespace qdqbert::nn
