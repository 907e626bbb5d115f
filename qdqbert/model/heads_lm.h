// Language modelling heads: a transform and a projection onto the vocabulary,
// usually tied to the word embeddings.
#pragma once

#include "qdqbert/model/heads.h"

namespace qdqbert::model {

/// `cls.predictions`: parameter `bias`, `transform.dense`, `transform.LayerNorm`,
/// `decoder`, whose bias is `bias`.
class PredictionHead : public torch::nn::Module {
 public:
  explicit PredictionHead(const io::BertConfig& config);
  at::Tensor forward(const at::Tensor& hidden);
  /// Makes `word_embeddings` the decoder's weight and `bias` its bias,
  /// padded with zeros or cut to as many rows.
  void tie(const at::Tensor& word_embeddings);
  /// An own decoder weight with `rows` rows, the first ones kept and new ones 0.
  void resize(int64_t rows);

  at::Tensor bias;
  std::shared_ptr<nn::Linear> dense, decoder;
  std::shared_ptr<LayerNorm> layer_norm;

 private:
  io::Activation activation_;
};

/// What both language modelling classes share.
class LanguageModel : public HeadModel {
 public:
  void tie_weights() override;
  std::vector<std::pair<std::string, std::string>> tied_names() const override;
  void resize_output_embeddings(int64_t rows) override;

  std::shared_ptr<PredictionHead> predictions;

 protected:
  LanguageModel(std::string class_name, const io::BertConfig& config, const nn::QuantDefaults& defaults);
  void finish_language_model();
};

/// Logits [B, S, V] and cache; labels [B, S]: each position predicts the next token, -100 ignored; giving
/// labels switches the cache off.
class QDQBertLMHeadModel : public LanguageModel {
 public:
  explicit QDQBertLMHeadModel(const io::BertConfig& config, const nn::QuantDefaults& defaults = {});
  ModelOutputs forward(const ModelInputs& inputs, const ForwardOptions& options = {}) override;
};

/// Logits [B, S, V]; labels [B, S] of the same positions, -100 ignored.
class QDQBertForMaskedLM : public LanguageModel {
 public:
  explicit QDQBertForMaskedLM(const io::BertConfig& config, const nn::QuantDefaults& defaults = {});
  ModelOutputs forward(const ModelInputs& inputs, const ForwardOptions& options = {}) override;
};

}  // namespace qdqbert::model
