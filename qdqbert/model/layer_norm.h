// Modules that hold parameters and nothing to decide.
#pragma once

#include <optional>

#include <ATen/ATen.h>
#include <torch/nn/module.h>

namespace qdqbert::model {

/// Normalisation over the last dimension, parameters `weight` and `bias` [H].
class LayerNorm : public torch::nn::Module {
 public:
  LayerNorm(int64_t size, double eps);
  at::Tensor forward(const at::Tensor& x) const;
  double epsilon() const { return eps_; }

  at::Tensor weight, bias;

 private:
  double eps_;
};

/// Table of `rows` vectors, parameter `weight` [rows, columns]. The row `padding_index` (negative counts from
/// the end) gets no gradient.
class Embedding : public torch::nn::Module {
 public:
  Embedding(int64_t rows, int64_t columns, std::optional<int64_t> padding_index = std::nullopt);
  /// The table `values` [rows, columns], of its type and where it lies, without a padding index.
  explicit Embedding(const at::Tensor& values);
  /// Throws InputError naming `what` when an index is outside the table; indices on a device are not waited
  /// for, there it gives a row of NaN.
  at::Tensor forward(const at::Tensor& indices, const char* what) const;
  /// Row of the padding index, nullopt when there is none.
  std::optional<int64_t> padding_row() const { return padding_row_; }
  int64_t rows() const { return weight.size(0); }

  at::Tensor weight;

 private:
  std::optional<int64_t> padding_row_;
};

}  // namespace qdqbert::model
