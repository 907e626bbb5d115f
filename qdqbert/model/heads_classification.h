// Classes that put one linear layer on the pooled or on every token's output.
#pragma once

#include "qdqbert/model/heads.h"

namespace qdqbert::model {

/// `classifier` on the pooled output: logits [B, N]. Loss by config().problem_type, which is inferred from
/// the labels and kept when unset: N == 1 regression (squeezed mean squared error), integer labels [B] one
/// class each, else several labels (binary cross-entropy, float labels [B, N]).
class QDQBertForSequenceClassification : public HeadModel {
 public:
  explicit QDQBertForSequenceClassification(const io::BertConfig& config,
                                            const nn::QuantDefaults& defaults = {});
  ModelOutputs forward(const ModelInputs& inputs, const ForwardOptions& options = {}) override;

  std::shared_ptr<nn::Linear> classifier;

 private:
  at::Tensor loss(const at::Tensor& logits, const at::Tensor& labels);
};

/// `classifier` on every token: logits [B, S, N], labels [B, S], -100 ignored.
class QDQBertForTokenClassification : public HeadModel {
 public:
  explicit QDQBertForTokenClassification(const io::BertConfig& config,
                                         const nn::QuantDefaults& defaults = {});
  ModelOutputs forward(const ModelInputs& inputs, const ForwardOptions& options = {}) override;

  std::shared_ptr<nn::Linear> classifier;
};

/// Inputs [B, C, S]; `classifier` on the pooled output of each choice: logits [B, C], labels [B].
class QDQBertForMultipleChoice : public HeadModel {
 public:
  explicit QDQBertForMultipleChoice(const io::BertConfig& config, const nn::QuantDefaults& defaults = {});
  ModelOutputs forward(const ModelInputs& inputs, const ForwardOptions& options = {}) override;

  std::shared_ptr<nn::Linear> classifier;
};

/// `cls.seq_relationship` on the pooled output: logits [B, 2], labels [B] with 0:
/// the second text follows the first.
class QDQBertForNextSentencePrediction : public HeadModel {
 public:
  explicit QDQBertForNextSentencePrediction(const io::BertConfig& config,
                                            const nn::QuantDefaults& defaults = {});
  ModelOutputs forward(const ModelInputs& inputs, const ForwardOptions& options = {}) override;

  std::shared_ptr<nn::Linear> seq_relationship;
};

}  // namespace qdqbert::model
