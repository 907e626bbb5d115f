// SQuAD features as samples to train on.
#pragma once

#include "qdqbert/tasks/squad_features.h"
#include "qdqbert/train/trainer.h"

namespace qdqbert::train {

class SquadTrainingData : public TrainingData {
 public:
  /// `features` have labels and outlive this object. Widths of batches are rounded up to a multiple of
  /// `multiple`, as the original does in half precision when it pads to the longest sample.
  explicit SquadTrainingData(const tasks::SquadFeatures& features, size_t multiple = 1)
      : features_(features), multiple_(multiple) {}

  int64_t size() const override { return static_cast<int64_t>(features_.size()); }
  int64_t length(int64_t sample) const override { return features_[static_cast<size_t>(sample)].length; }
  /// Rows padded to the features' width: all of max_length, or the longest of the batch.
  model::ModelInputs batch(std::span<const int64_t> samples, int64_t micro_step) override;
  /// Logarithm of the number of positions.
  std::optional<double> chance_loss(const model::ModelInputs& inputs) const override;

 private:
  const tasks::SquadFeatures& features_;
  size_t multiple_;
};

}  // namespace qdqbert::train
