// Multi-head attention with quantized projections, score and context products, and residual sum.
#pragma once

#include <set>

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include "qdqbert/io/bert_config.h"
#include "qdqbert/model/layer_norm.h"
#include "qdqbert/model/model_io.h"
#include "qdqbert/nn/linear.h"
#include "qdqbert/nn/shared_input.h"

namespace qdqbert::model {

/// What the layers of one forward pass have in common.
struct LayerContext {
  quant::Arithmetic arithmetic = quant::Arithmetic::kToolkit;
  bool output_attentions = false;
  const QuantizerTap* tap = nullptr;
  bool original_relative_distances = false;  ///< see ForwardOptions
  int64_t first_position = 0;                ///< of the queries in the text: how many tokens the cache holds

  /// A tap may keep what it was shown, so nothing is overwritten under it.
  nn::QuantCall call(bool may_overwrite) const { return {arithmetic, may_overwrite && tap == nullptr}; }
};

/// Tells the tap, if there is one, what the quantizer is about to quantize.
void tell(const LayerContext& context, const nn::TensorQuantizer& quantizer, const at::Tensor& x);

/// Applies a quantizer, telling the tap first.
at::Tensor quantize(nn::TensorQuantizer& quantizer, const at::Tensor& x, const LayerContext& context,
                    bool may_overwrite);
/// The same for an input that several quantizers read.
at::Tensor quantize(nn::TensorQuantizer& quantizer, nn::SharedInput& x, const LayerContext& context);
at::Tensor forward_linear(nn::QuantLinear& linear, const at::Tensor& x, const LayerContext& context,
                          bool may_overwrite);
at::Tensor forward_linear(nn::QuantLinear& linear, nn::SharedInput& x, const LayerContext& context);

struct SelfAttentionOutput {
  at::Tensor context;        ///< [B, S, A * d]
  at::Tensor probabilities;  ///< [B, A, S, K] when asked for
  LayerCache present;        ///< key, value
};

/// attention.self: `query`, `key`, `value`, the four matmul quantizers,
/// and `distance_embedding` for relative positions.
class SelfAttention : public torch::nn::Module {
 public:
  SelfAttention(const io::BertConfig& config, const nn::QuantDefaults& defaults);

  /// `encoder_states` (may be undefined) makes it a cross-attention; `past` (may be empty) holds key and
  /// value. `mask` is additive, `head_mask` [1, A, 1, 1] or undefined.
  SelfAttentionOutput forward(nn::SharedInput& hidden, const at::Tensor& mask, const at::Tensor& head_mask,
                              const at::Tensor& encoder_states, const LayerCache& past,
                              const LayerContext& context);
  void keep_heads(const at::Tensor& features, int64_t heads);

  int64_t heads() const { return heads_; }
  int64_t head_size() const { return head_size_; }

  std::shared_ptr<nn::QuantLinear> query, key, value;
  std::shared_ptr<nn::TensorQuantizer> matmul_q_input_quantizer, matmul_k_input_quantizer,
      matmul_v_input_quantizer, matmul_a_input_quantizer;

 private:
  at::Tensor split(const at::Tensor& x) const;
  at::Tensor relative_scores(const at::Tensor& q, const at::Tensor& k, const LayerContext& context) const;
  void check_masks(const at::Tensor& mask, const at::Tensor& head_mask, int64_t queries, int64_t keys) const;
  void attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& relative,
              const at::Tensor& mask, const at::Tensor& head_mask, const LayerContext& context,
              SelfAttentionOutput& result);
  at::Tensor quantize_split(nn::TensorQuantizer& quantizer, const at::Tensor& x, const LayerContext& context,
                            bool may_overwrite, bool transposed) const;

  int64_t heads_, head_size_, max_positions_;
  double dropout_;
  bool is_decoder_;
  io::PositionEmbedding positions_;
  at::Tensor distance_embedding_;
};

/// attention.output and output: linear, dropout, then LayerNorm(Q(linear) + Q(residual)).
class ResidualOutput : public torch::nn::Module {
 public:
  ResidualOutput(int64_t in_features, const io::BertConfig& config, const nn::QuantDefaults& defaults);

  /// `hidden` is overwritten where that is allowed.
  at::Tensor forward(const at::Tensor& hidden, nn::SharedInput& residual, const LayerContext& context,
                     bool may_overwrite);

  std::shared_ptr<nn::QuantLinear> dense;
  std::shared_ptr<LayerNorm> layer_norm;
  std::shared_ptr<nn::TensorQuantizer> add_local_input_quantizer, add_residual_input_quantizer;

 private:
  double dropout_;
};

struct AttentionOutput {
  at::Tensor hidden;         ///< [B, S, H]
  at::Tensor probabilities;  ///< when asked for
  LayerCache present;
};

/// `attention` or `crossattention` of a layer: children `self` and `output`.
class Attention : public torch::nn::Module {
 public:
  Attention(const io::BertConfig& config, const nn::QuantDefaults& defaults);

  AttentionOutput forward(const at::Tensor& hidden, const at::Tensor& mask, const at::Tensor& head_mask,
                          const at::Tensor& encoder_states, const LayerCache& past,
                          const LayerContext& context);
  /// Removes heads (numbers before any pruning); quantizers and their ranges stay.
  /// Heads removed before are ignored.
  void prune_heads(const std::set<int64_t>& heads);

  std::shared_ptr<SelfAttention> self;
  std::shared_ptr<ResidualOutput> output;

 private:
  std::vector<int64_t> remaining_heads_;  // in the numbering before pruning
};

}  // namespace qdqbert::model
