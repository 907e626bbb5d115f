// Question answering: windows of contexts, and answers out of their logits.
#pragma once

#include "qdqbert/tasks/squad_evaluation.h"
#include "qdqbert/tasks/squad_features.h"
#include "qdqbert/train/task_data.h"

namespace qdqbert::train {

class SquadData : public TaskData {
 public:
  /// `scored`: the examples have answers to compare with. Training needs features with labels.
  SquadData(std::vector<tasks::SquadExample> examples, tasks::SquadFeatures features,
            const tasks::AnswerOptions& options, bool scored, int64_t width_multiple = 1);

  int64_t size() const override { return static_cast<int64_t>(features_.size()); }
  int64_t length(int64_t sample) const override { return features_[static_cast<size_t>(sample)].length; }
  int64_t width(int64_t sample) const override {
    return static_cast<int64_t>(features_.width(static_cast<size_t>(sample)));
  }
  bool pads_right() const override { return features_.pads_right(); }
  model::ModelInputs inputs(std::span<const int64_t> samples, int64_t width) const override;
  model::ModelInputs batch(std::span<const int64_t> samples, int64_t micro_step) override;
  /// Logarithm of the number of positions.
  std::optional<double> chance_loss(const model::ModelInputs& inputs) const override;
  void begin_evaluation(bool padded) override;
  void collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) override;
  bool scored() const override { return scored_; }
  /// {exact_match, f1} or the v2 metric.
  Json metrics() const override;
  /// `<prefix>_predictions.json`, `<prefix>_nbest_predictions.json`, `<prefix>_null_odds.json`.
  void write_predictions(const std::filesystem::path& directory, const std::string& prefix) const override;

  size_t questions() const { return examples_.size(); }
  /// Answers and scores of what was collected.
  const tasks::SquadEvaluation& evaluation() const;

 private:
  std::vector<tasks::SquadExample> examples_;
  tasks::SquadFeatures features_;
  tasks::AnswerOptions options_;
  bool scored_;
  int64_t width_multiple_;
  tasks::SquadLogits logits_;
  mutable std::optional<tasks::SquadEvaluation> evaluation_;  ///< of the logits, made when asked for
};

}  // namespace qdqbert::train
