#include "qdqbert/model/layer_norm.h"

#include <limits>

#include "qdqbert/base/error.h"
#include "qdqbert/nn/residual_norm.h"

namespace qdqbert::model {

LayerNorm::LayerNorm(int64_t size, double eps) : torch::nn::Module("LayerNorm"), eps_(eps) {
  weight = register_parameter("weight", at::ones({size}));
  bias = register_parameter("bias", at::zeros({size}));
}

at::Tensor LayerNorm::forward(const at::Tensor& x) const {
  const nn::ResidualNorm alone{x, {}, weight, bias, eps_, 0, {}, {}};
  // Training needs gradients that do not depend on the number of threads, and the same bits when a
  // checkpointed layer runs again. Otherwise the original's operator: the divergence that entropy calibration
  // minimizes is so flat in places that a last bit moves a range by 31 bins.
  return is_training() && alone.fits() ? nn::residual_norm(alone)
                                       : at::layer_norm(x, {weight.size(0)}, weight, bias, eps_);
}

Embedding::Embedding(int64_t rows, int64_t columns, std::optional<int64_t> padding_index)
    : torch::nn::Module("Embedding") {
  weight = register_parameter("weight", at::zeros({rows, columns}));
  if (!padding_index) return;
  padding_row_ = *padding_index < 0 ? rows + *padding_index : *padding_index;
  if (*padding_row_ < 0 || *padding_row_ >= rows) {
    fail("[embedding] padding index {} lies outside the {} rows", *padding_index, rows);
  }
}

Embedding::Embedding(const at::Tensor& values) : torch::nn::Module("Embedding") {
  weight = register_parameter("weight", values);
}

at::Tensor Embedding::forward(const at::Tensor& indices, const char* what) const {
  if (!indices.device().is_cpu()) {
    // To ask a device means to wait for it, so what the CPU refuses becomes NaN.
    const at::Tensor wrong = indices.lt(0).logical_or(indices.ge(rows()));
    return at::embedding(weight, indices.clamp(0, rows() - 1), padding_row_.value_or(-1))
        .masked_fill(wrong.unsqueeze(-1), std::numeric_limits<double>::quiet_NaN());
  }
  if (indices.numel() > 0) {
    const int64_t low = indices.min().item<int64_t>(), high = indices.max().item<int64_t>();
    if (low < 0 || high >= rows()) {
      fail("[{}] {} lies outside the table of {} rows", what, low < 0 ? low : high, rows());
    }
  }
  return at::embedding(weight, indices, padding_row_.value_or(-1));
}

}  // namespace qdqbert::model
