// Learning from the answers of another model.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "qdqbert/model/bert_model.h"

namespace qdqbert::train {

struct DistillationOptions {
  double temperature = 2;
  double alpha = 0.5;           ///< share of the teacher's answers; the labels have the rest
  double hidden_weight = 0;     ///< of the mean squared difference of hidden states, added to the loss
  double attention_weight = 0;  ///< of that of attention probabilities
  /// Student's and teacher's layers, from 0; empty: student layer l learns from
  /// (l + 1) * Lt / Ls - 1, so that the last ones meet.
  std::vector<std::pair<int64_t, int64_t>> layers;

  /// Throws UsageError: temperature not positive, alpha outside [0, 1],
  /// negative weights, layers without a weight.
  void validate() const;
  Json to_json() const;
};

/// loss = (1 - alpha) * student's own loss + alpha * T^2 * KL(teacher / T || student / T), the divergence
/// summed over classes (positions, in question answering) and averaged over rows, + weighted differences of
/// mapped layers. Padding counts nowhere; neither do positions labelled -100. Models with one output number
/// (regression) learn it by mean squared difference instead.
class Distillation {
 public:
  /// The teacher's quantizers are switched off and it stays in evaluation mode. Throws UsageError when the
  /// models do not fit: another class, number of labels or vocabulary size; other widths or numbers of heads
  /// where layers are compared; layers that do not exist.
  Distillation(model::PreTrainedModel& student, std::shared_ptr<model::PreTrainedModel> teacher,
               DistillationOptions options, bool gradient_checkpointing = false);

  at::Tensor loss(const model::ModelInputs& inputs);
  /// Student's and teacher's layers that are compared.
  const std::vector<std::pair<int64_t, int64_t>>& layers() const { return options_.layers; }

 private:
  model::PreTrainedModel& student_;
  std::shared_ptr<model::PreTrainedModel> teacher_;
  DistillationOptions options_;
  bool gradient_checkpointing_;
};

}  // namespace qdqbert::train
