// Fully connected layers: plain, and with quantized input and weight.
#pragma once

#include <memory>

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include "qdqbert/nn/linear_function.h"
#include "qdqbert/nn/tensor_quantizer.h"

namespace qdqbert::nn {

/// What the quantizers of new layers are made from. The toolkit's factory defaults: 8 bit, input per tensor,
/// weight per output row (axis 0), both calibrated by maximum.
struct QuantDefaults {
  quant::QuantDescriptor input = quant::desc_8bit_per_tensor();
  quant::QuantDescriptor weight = quant::desc_8bit_linear_weight_per_row();
};

/// y = x W^T + b. Parameters `weight` [out, in] and `bias` [out] (undefined without), uninitialised zeros.
class Linear : public torch::nn::Module {
 public:
  Linear(int64_t in_features, int64_t out_features, bool has_bias = true);
  /// A layer over parameters that another module may own too (`bias` may be undefined).
  Linear(const at::Tensor& shared_weight, const at::Tensor& shared_bias);

  virtual at::Tensor forward(const at::Tensor& x, const QuantCall& call = {});
  int64_t in_features() const { return weight.size(1); }
  int64_t out_features() const { return weight.size(0); }
  /// Keeps `rows` of weight and bias, or `columns` of the weight (indices, int64). Ranges per row follow.
  virtual void keep_rows(const at::Tensor& rows);
  virtual void keep_columns(const at::Tensor& columns);
  void pretty_print(std::ostream& stream) const override;

  at::Tensor weight, bias;

 protected:
  Linear(const char* name, int64_t in_features, int64_t out_features, bool has_bias);
};

/// linear(Q(x), Q(W), b) with children `_input_quantizer` and `_weight_quantizer`;
/// the bias is never quantized.
class QuantLinear : public Linear {
 public:
  /// Throws InputError when a descriptor asks for real quantization: layers work in float.
  QuantLinear(int64_t in_features, int64_t out_features, bool has_bias, const QuantDefaults& descriptors);

  at::Tensor forward(const at::Tensor& x, const QuantCall& call = {}) override;
  /// The layer on an input that its input quantizer has already seen.
  at::Tensor forward_quantized(const at::Tensor& quantized_x, const QuantCall& call = {});
  /// The weight as the forward uses it.
  at::Tensor quantized_weight(const QuantCall& call = {});
  void keep_rows(const at::Tensor& rows) override;
  void pretty_print(std::ostream& stream) const override;

  TensorQuantizer& input_quantizer() { return *input_quantizer_; }
  TensorQuantizer& weight_quantizer() { return *weight_quantizer_; }

 private:
  // The quantized weight is a function of the weight, the range and the parameters, so it is kept until one
  // of them changes: over accumulated batches, recomputed layers and evaluation. Versions count the in-place
  // writes to a tensor; who writes through a bare pointer has to count them too (bump_version()).
  struct WeightKey {
    const void* weight = nullptr;
    const void* amax = nullptr;
    uint32_t weight_version = 0, amax_version = 0;
    quant::QuantParams params;
    bool marked = false;
    bool operator==(const WeightKey& other) const;
  };
  std::optional<WeightKey> weight_key(const QuantCall& call) const;
  PreparedWeight& prepared_weight(const WeightKey& key, const QuantCall& call);

  std::shared_ptr<TensorQuantizer> input_quantizer_, weight_quantizer_;
  std::optional<WeightKey> cached_key_;
  PreparedWeight cached_weight_;
};

}  // namespace qdqbert::nn
