#include "qdqbert/model/bert_model.h"

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/model/masks.h"
#include "qdqbert/nn/dropout.h"

namespace qdqbert::model {

Embeddings::Embeddings(const io::BertConfig& config)
    : torch::nn::Module("QDQBertEmbeddings"),
      dropout_(config.hidden_dropout_prob),
      absolute_positions_(config.position_embedding() == io::PositionEmbedding::kAbsolute) {
  const auto table = [&](int64_t rows, std::optional<int64_t> padding = std::nullopt) {
    return std::make_shared<Embedding>(rows, config.hidden_size, padding);
  };
  word_embeddings = register_module("word_embeddings", table(config.vocab_size, config.pad_token_id));
  position_embeddings = register_module("position_embeddings", table(config.max_position_embeddings));
  token_type_embeddings = register_module("token_type_embeddings", table(config.type_vocab_size));
  layer_norm =
      register_module("LayerNorm", std::make_shared<LayerNorm>(config.hidden_size, config.layer_norm_eps));
}

void Embeddings::replace_word_embeddings(const std::shared_ptr<Embedding>& table) {
  word_embeddings = replace_module("word_embeddings", table);
}

at::Tensor Embeddings::forward(const ModelInputs& inputs, int64_t past_length) {
  const at::Tensor words = inputs.inputs_embeds.defined()
                               ? inputs.inputs_embeds
                               : word_embeddings->forward(inputs.input_ids, "token id");
  const int64_t length = words.size(1);
  if (past_length + length > position_embeddings->rows() && !inputs.position_ids.defined()) {
    fail("[input] {} tokens exceed the {} positions of the model", past_length + length,
         position_embeddings->rows());
  }
  const at::Tensor types = inputs.token_type_ids.defined()
                               ? token_type_embeddings->forward(inputs.token_type_ids, "token type")
                               : token_type_embeddings->weight[0];
  at::Tensor sum = words + types;
  if (absolute_positions_) {
    sum = sum + (inputs.position_ids.defined()
                     ? position_embeddings->forward(inputs.position_ids, "position")
                     : position_embeddings->weight.slice(0, past_length, past_length + length));
  }
  const at::Tensor normed = layer_norm->forward(sum);
  return is_training() && dropout_ > 0 ? nn::dropout(normed, dropout_) : normed;
}

Pooler::Pooler(const io::BertConfig& config) : torch::nn::Module("QDQBertPooler") {
  dense = register_module("dense", std::make_shared<nn::Linear>(config.hidden_size, config.hidden_size));
}

at::Tensor Pooler::forward(const at::Tensor& hidden) {
  return at::tanh(dense->forward(hidden.select(1, 0)));
}

QDQBertModel::QDQBertModel(const io::BertConfig& config, const nn::QuantDefaults& defaults,
                           bool add_pooling_layer)
    : PreTrainedModel("QDQBertModel", config, defaults) {
  embeddings = register_module("embeddings", std::make_shared<Embeddings>(config_));
  encoder = register_module("encoder", std::make_shared<Encoder>(config_, defaults_));
  if (add_pooling_layer) pooler = register_module("pooler", std::make_shared<Pooler>(config_));
  finish_construction();
}

namespace {

// Shape [B, S] of the new tokens.
std::pair<int64_t, int64_t> input_shape(const ModelInputs& inputs) {
  const at::Tensor &ids = inputs.input_ids, &embeds = inputs.inputs_embeds;
  if (ids.defined() == embeds.defined()) {
    fail("[input] {} input_ids and inputs_embeds {}", ids.defined() ? "both" : "neither",
         ids.defined() ? "were given, one is needed" : "was given, one is needed");
  }
  if (ids.defined() ? ids.dim() != 2 : embeds.dim() != 3) {
    fail("[input] {} needs {} dimensions, has shape {}", ids.defined() ? "input_ids" : "inputs_embeds",
         ids.defined() ? 2 : 3, to_string(Shape((ids.defined() ? ids : embeds).sizes().vec())));
  }
  return ids.defined() ? std::pair{ids.size(0), ids.size(1)} : std::pair{embeds.size(0), embeds.size(1)};
}

}  // namespace

ModelOutputs QDQBertModel::forward(const ModelInputs& inputs, const ForwardOptions& options) {
  const auto [batch, length] = input_shape(inputs);
  const PastKeyValues& past = inputs.past_key_values;
  if (!past.empty() && past.size() != encoder->layers.size()) {
    fail("[cache] has {} layers, the model {}", past.size(), encoder->layers.size());
  }
  const int64_t past_length = past.empty() ? 0 : past[0].at(0).size(2);
  const at::Tensor hidden = embeddings->forward(inputs, past_length);
  const at::ScalarType dtype = embeddings->layer_norm->weight.scalar_type();

  LayerInputs shared;
  const at::Tensor mask = inputs.attention_mask.defined()
                              ? inputs.attention_mask
                              : at::ones({batch, length + past_length}, hidden.options().dtype(dtype));
  shared.mask = extended_attention_mask(mask, batch, length, config_.is_decoder, dtype);
  if (config_.is_decoder && inputs.encoder_hidden_states.defined()) {
    shared.encoder_states = inputs.encoder_hidden_states;
    const at::Tensor encoder_mask =
        inputs.encoder_attention_mask.defined()
            ? inputs.encoder_attention_mask
            : at::ones({shared.encoder_states.size(0), shared.encoder_states.size(1)},
                       hidden.options().dtype(dtype));
    shared.encoder_mask = inverted_attention_mask(encoder_mask, dtype);
  }
  const auto layers = static_cast<int64_t>(encoder->layers.size());
  at::Tensor head_mask;
  if (inputs.head_mask.defined()) {
    head_mask = head_mask_by_layer(inputs.head_mask, layers, dtype);
    if (head_mask.size(0) < layers) {
      fail("[head mask] has {} layers, the model {}", head_mask.size(0), layers);
    }
  }

  const bool checkpointing = options.gradient_checkpointing && is_training();
  bool use_cache = config_.is_decoder && options.use_cache.value_or(config_.use_cache);
  if (use_cache && checkpointing) {
    log_warning("[model] no cache is returned under gradient checkpointing");
    use_cache = false;
  }
  LayerContext context;
  context.arithmetic = options.arithmetic;
  context.output_attentions = options.output_attentions.value_or(config_.output_attentions);
  context.original_relative_distances = options.original_relative_distances;
  context.tap = options.tap ? &options.tap : nullptr;
  EncoderOutput encoded =
      encoder->forward(hidden, shared, head_mask, past, context,
                       options.output_hidden_states.value_or(config_.output_hidden_states), checkpointing);

  ModelOutputs outputs;
  outputs.last_hidden_state = encoded.hidden;
  if (pooler) outputs.pooler_output = pooler->forward(encoded.hidden);
  outputs.hidden_states = std::move(encoded.hidden_states);
  outputs.attentions = std::move(encoded.attentions);
  outputs.cross_attentions = std::move(encoded.cross_attentions);
  if (use_cache) outputs.past_key_values = std::move(encoded.present);
  return outputs;
}

}  // namespace qdqbert::model
