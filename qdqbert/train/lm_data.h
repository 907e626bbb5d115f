// Language modelling: masked tokens, next tokens, next sentences.
#pragma once

#include "qdqbert/tasks/lm_dataset.h"
#include "qdqbert/train/task_data.h"

namespace qdqbert::train {

/// Blocks of tokens for QDQBertForMaskedLM (masks drawn anew for every batch of training, the same for every
/// evaluation) or QDQBertLMHeadModel (each token predicts the next). The tokenizer must outlive the object.
class LmData : public RowData {
 public:
  enum class Objective { kMasked, kCausal };
  LmData(tasks::LmBlocks blocks, Objective objective, const tasks::MaskingOptions& masking,
         const TaskContext& context);

  model::ModelInputs inputs(std::span<const int64_t> samples, int64_t width) const override;
  model::ModelInputs batch(std::span<const int64_t> samples, int64_t micro_step) override;
  std::optional<double> chance_loss(const model::ModelInputs& batch) const override;
  void begin_evaluation(bool padded) override;
  void collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) override;
  bool scored() const override { return true; }
  /// loss (mean over the predicted tokens), perplexity (its exponential), accuracy, predicted_tokens.
  Json metrics() const override;
  void write_predictions(const std::filesystem::path& directory, const std::string& prefix) const override;

 private:
  tasks::MaskedRow masked(size_t row, uint64_t epoch) const;

  const text::Tokenizer& tokenizer_;
  tasks::LmBlocks blocks_;
  Objective objective_;
  tasks::MaskingOptions masking_;
  MeanLoss loss_;
  int64_t correct_ = 0;
  std::vector<std::vector<int32_t>> predicted_;  ///< by row: the best token where one was asked for, else -1
};

/// Pairs of sentences for QDQBertForNextSentencePrediction.
class NextSentenceData : public RowData {
 public:
  NextSentenceData(std::vector<tasks::SentencePair> pairs, const TaskContext& context);

  model::ModelInputs batch(std::span<const int64_t> samples, int64_t micro_step) override;
  std::optional<double> chance_loss(const model::ModelInputs& batch) const override;
  void begin_evaluation(bool padded) override;
  void collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) override;
  bool scored() const override;
  Json metrics() const override;  ///< accuracy, loss
  void write_predictions(const std::filesystem::path& directory, const std::string& prefix) const override;

 private:
  std::vector<tasks::SentencePair> pairs_;
  std::vector<float> logits_;  ///< [pairs][2]
};

}  // namespace qdqbert::train
