#include "qdqbert/model/encoder.h"

#include "qdqbert/base/error.h"
#include "qdqbert/model/checkpointing.h"

namespace qdqbert::model {

Intermediate::Intermediate(const io::BertConfig& config, const nn::QuantDefaults& defaults)
    : torch::nn::Module("QDQBertIntermediate"), activation_(config.hidden_act) {
  dense = register_module("dense", std::make_shared<nn::QuantLinear>(
                                       config.hidden_size, config.intermediate_size, true, defaults));
}

at::Tensor Intermediate::forward(nn::SharedInput& hidden, const LayerContext& context) {
  return activate(activation_, forward_linear(*dense, hidden, context), true);
}

Layer::Layer(const io::BertConfig& config, const nn::QuantDefaults& defaults)
    : torch::nn::Module("QDQBertLayer"), is_decoder_(config.is_decoder) {
  attention = register_module("attention", std::make_shared<Attention>(config, defaults));
  if (config.add_cross_attention) {
    if (!is_decoder_) fail("[config] add_cross_attention needs is_decoder to be true");
    crossattention = register_module("crossattention", std::make_shared<Attention>(config, defaults));
  }
  intermediate = register_module("intermediate", std::make_shared<Intermediate>(config, defaults));
  output =
      register_module("output", std::make_shared<ResidualOutput>(config.intermediate_size, config, defaults));
}

LayerOutput Layer::forward(const at::Tensor& hidden, const LayerInputs& inputs, const LayerContext& outer) {
  const LayerCache& past = inputs.past;
  const LayerCache self_past(past.begin(), past.begin() + (past.size() >= 2 ? 2 : 0));
  // A cache of two tensors belongs to the self-attention alone.
  const LayerCache cross_past(past.begin() + (past.size() == 4 ? 2 : 0),
                              past.begin() + (past.size() == 4 ? 4 : 0));

  LayerContext context = outer;
  context.first_position = self_past.empty() ? 0 : self_past[0].size(2);
  AttentionOutput attended =
      attention->forward(hidden, inputs.mask, inputs.head_mask, {}, self_past, context);
  LayerOutput result;
  result.probabilities = attended.probabilities;
  result.present = std::move(attended.present);
  at::Tensor states = attended.hidden;
  if (is_decoder_ && inputs.encoder_states.defined()) {
    if (!crossattention) {
      fail(
          "[encoder states] were given to a decoder without cross-attention; "
          "set add_cross_attention in its config");
    }
    AttentionOutput crossed = crossattention->forward(states, inputs.encoder_mask, inputs.head_mask,
                                                      inputs.encoder_states, cross_past, context);
    result.cross_probabilities = crossed.probabilities;
    result.present.insert(result.present.end(), crossed.present.begin(), crossed.present.end());
    states = crossed.hidden;
  }
  nn::SharedInput shared(states);
  const at::Tensor activated = intermediate->forward(shared, context);
  result.hidden = output->forward(activated, shared, context, true);
  return result;
}

Encoder::Encoder(const io::BertConfig& config, const nn::QuantDefaults& defaults)
    : torch::nn::Module("QDQBertEncoder") {
  const auto list = register_module("layer", std::make_shared<torch::nn::Module>("ModuleList"));
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layers.push_back(list->register_module(std::to_string(i), std::make_shared<Layer>(config, defaults)));
  }
}

EncoderOutput Encoder::forward(const at::Tensor& hidden, const LayerInputs& shared,
                               const at::Tensor& head_mask, const PastKeyValues& past,
                               const LayerContext& context, bool keep_hidden_states,
                               bool gradient_checkpointing) {
  EncoderOutput result;
  result.hidden = hidden;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (keep_hidden_states) result.hidden_states.push_back(result.hidden);
    LayerInputs inputs = shared;
    if (head_mask.defined()) inputs.head_mask = head_mask[static_cast<int64_t>(i)];
    if (!past.empty()) inputs.past = past[i];
    LayerOutput output = gradient_checkpointing ? checkpoint_layer(layers[i], result.hidden, inputs, context)
                                                : layers[i]->forward(result.hidden, inputs, context);
    result.hidden = output.hidden;
    if (output.probabilities.defined()) result.attentions.push_back(output.probabilities);
    if (output.cross_probabilities.defined()) result.cross_attentions.push_back(output.cross_probabilities);
    if (!output.present.empty()) result.present.push_back(std::move(output.present));
  }
  if (keep_hidden_states) result.hidden_states.push_back(result.hidden);
  return result;
}

}  // namespace qdqbert::model
