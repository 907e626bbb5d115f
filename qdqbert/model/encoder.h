// One transformer layer and the stack of them.
#pragma once

#include <vector>

#include "qdqbert/model/activations.h"
#include "qdqbert/model/attention.h"

namespace qdqbert::model {

/// `intermediate`: activation of a quantized linear layer.
class Intermediate : public torch::nn::Module {
 public:
  Intermediate(const io::BertConfig& config, const nn::QuantDefaults& defaults);
  at::Tensor forward(nn::SharedInput& hidden, const LayerContext& context);

  std::shared_ptr<nn::QuantLinear> dense;

 private:
  io::Activation activation_;
};

/// What a layer needs besides its hidden states.
struct LayerInputs {
  at::Tensor mask;            ///< additive, broadcast to [B, A, S, K]; undefined: none
  at::Tensor head_mask;       ///< [1, A, 1, 1]; undefined: none
  at::Tensor encoder_states;  ///< [B, T, H] of a cross-attention; undefined: none
  at::Tensor encoder_mask;    ///< additive
  LayerCache past;
};

struct LayerOutput {
  at::Tensor hidden;                              ///< [B, S, H]
  at::Tensor probabilities, cross_probabilities;  ///< when asked for
  LayerCache present;                             ///< decoders
};

/// `layer.N`: attention, cross-attention in decoders that have one, feed-forward network.
class Layer : public torch::nn::Module {
 public:
  Layer(const io::BertConfig& config, const nn::QuantDefaults& defaults);
  LayerOutput forward(const at::Tensor& hidden, const LayerInputs& inputs, const LayerContext& outer);

  std::shared_ptr<Attention> attention,
      crossattention;  // crossattention: nullptr without add_cross_attention
  std::shared_ptr<Intermediate> intermediate;
  std::shared_ptr<ResidualOutput> output;

 private:
  bool is_decoder_;
};

struct EncoderOutput {
  at::Tensor hidden;
  std::vector<at::Tensor> hidden_states, attentions, cross_attentions;
  PastKeyValues present;
};

/// `encoder`: the layers in order.
class Encoder : public torch::nn::Module {
 public:
  Encoder(const io::BertConfig& config, const nn::QuantDefaults& defaults);

  /// `shared` holds what is equal for all layers; `head_mask` [L, 1, A, 1,
  /// 1] or undefined; `past` empty or L caches.
  EncoderOutput forward(const at::Tensor& hidden, const LayerInputs& shared, const at::Tensor& head_mask,
                        const PastKeyValues& past, const LayerContext& context, bool keep_hidden_states,
                        bool gradient_checkpointing);

  std::vector<std::shared_ptr<Layer>> layers;
};

}  // namespace qdqbert::model
