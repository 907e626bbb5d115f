#include "qdqbert/model/heads_lm.h"

#include "qdqbert/base/log.h"
#include "qdqbert/model/losses.h"

namespace qdqbert::model {
namespace {

at::Tensor resized(const at::Tensor& old, int64_t rows) {
  std::vector<int64_t> shape = old.sizes().vec();
  shape[0] = rows;
  at::Tensor result = at::zeros(shape, old.options());
  const int64_t kept = std::min(rows, old.size(0));
  result.slice(0, 0, kept).copy_(old.slice(0, 0, kept));
  return result;
}

}  // namespace

PredictionHead::PredictionHead(const io::BertConfig& config)
    : torch::nn::Module("QDQBertLMPredictionHead"), activation_(config.hidden_act) {
  bias = register_parameter("bias", at::zeros({config.vocab_size}));
  const auto transform = register_module("transform", std::make_shared<torch::nn::Module>("Transform"));
  dense = transform->register_module("dense",
                                     std::make_shared<nn::Linear>(config.hidden_size, config.hidden_size));
  layer_norm = transform->register_module(
      "LayerNorm", std::make_shared<LayerNorm>(config.hidden_size, config.layer_norm_eps));
  decoder = register_module(
      "decoder", std::make_shared<nn::Linear>(at::zeros({config.vocab_size, config.hidden_size}), bias));
}

at::Tensor PredictionHead::forward(const at::Tensor& hidden) {
  return decoder->forward(layer_norm->forward(activate(activation_, dense->forward(hidden), true)));
}

void PredictionHead::tie(const at::Tensor& word_embeddings) {
  if (bias.size(0) != word_embeddings.size(0)) bias.set_data(resized(bias.detach(), word_embeddings.size(0)));
  decoder = replace_module("decoder", std::make_shared<nn::Linear>(word_embeddings, bias));
}

void PredictionHead::resize(int64_t rows) {
  bias.set_data(resized(bias.detach(), rows));
  decoder->weight.set_data(resized(decoder->weight.detach(), rows));
}

LanguageModel::LanguageModel(std::string class_name, const io::BertConfig& config,
                             const nn::QuantDefaults& defaults)
    : HeadModel(std::move(class_name), config, defaults, /*has_pooler=*/false) {
  const auto cls = register_module("cls", std::make_shared<torch::nn::Module>("QDQBertOnlyMLMHead"));
  predictions = cls->register_module("predictions", std::make_shared<PredictionHead>(config_));
}

void LanguageModel::finish_language_model() {
  finish_construction();
  tie_weights();
}

void LanguageModel::tie_weights() {
  if (!config_.tie_word_embeddings) return;
  const at::Tensor& words = bert->embeddings->word_embeddings->weight;
  predictions->tie(config_.torchscript ? words.detach().clone() : words);
}

std::vector<std::pair<std::string, std::string>> LanguageModel::tied_names() const {
  std::vector<std::pair<std::string, std::string>> names = {
      {"cls.predictions.decoder.bias", "cls.predictions.bias"}};
  if (config_.tie_word_embeddings && !config_.torchscript) {
    names.push_back({"cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"});
  }
  return names;
}

void LanguageModel::resize_output_embeddings(int64_t rows) {
  if (!config_.tie_word_embeddings) predictions->resize(rows);
}

QDQBertLMHeadModel::QDQBertLMHeadModel(const io::BertConfig& config, const nn::QuantDefaults& defaults)
    : LanguageModel("QDQBertLMHeadModel", config, defaults) {
  if (!config.is_decoder)
    log_warning("[QDQBertLMHeadModel] is_decoder is false: every token sees all others");
  finish_language_model();
}

ModelOutputs QDQBertLMHeadModel::forward(const ModelInputs& inputs, const ForwardOptions& options) {
  ForwardOptions base_options = options;
  if (inputs.labels.defined()) base_options.use_cache = false;
  ModelOutputs base_outputs = bert->forward(inputs, base_options);
  const at::Tensor sequence = base_outputs.last_hidden_state;
  ModelOutputs outputs = passed_on(std::move(base_outputs));
  outputs.logits = predictions->forward(sequence);
  if (inputs.labels.defined()) {
    const int64_t length = outputs.logits.size(1), words = outputs.logits.size(2);
    const at::Tensor predicting = outputs.logits.slice(1, 0, length - 1).reshape({-1, words});
    outputs.loss = cross_entropy(predicting, inputs.labels.slice(1, 1).reshape(-1));
  }
  return outputs;
}

QDQBertForMaskedLM::QDQBertForMaskedLM(const io::BertConfig& config, const nn::QuantDefaults& defaults)
    : LanguageModel("QDQBertForMaskedLM", config, defaults) {
  if (config.is_decoder) log_warning("[QDQBertForMaskedLM] is_decoder is true: tokens do not see later ones");
  finish_language_model();
}

ModelOutputs QDQBertForMaskedLM::forward(const ModelInputs& inputs, const ForwardOptions& options) {
  ModelOutputs base_outputs = bert->forward(inputs, options);
  const at::Tensor sequence = base_outputs.last_hidden_state;
  ModelOutputs outputs = passed_on(std::move(base_outputs));
  outputs.logits = predictions->forward(sequence);
  if (inputs.labels.defined()) {
    outputs.loss =
        cross_entropy(outputs.logits.view({-1, outputs.logits.size(2)}), inputs.labels.reshape(-1));
  }
  return outputs;
}

}  // namespace qdqbert::model
