// Sequence classification: one label, several labels, or a number.
#pragma once

#include "qdqbert/tasks/classify_evaluation.h"
#include "qdqbert/train/task_data.h"

namespace qdqbert::train {

class ClassifyData : public RowData {
 public:
  /// Throws InputError naming file and line for a label that `labels` lacks.
  /// `labels` is empty for regression.
  ClassifyData(tasks::ClassifyData data, tasks::LabelMap labels, const TaskContext& context);

  model::ModelInputs batch(std::span<const int64_t> samples, int64_t micro_step) override;
  std::optional<double> chance_loss(const model::ModelInputs& batch) const override;
  void begin_evaluation(bool padded) override;
  void collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) override;
  bool scored() const override { return data_.labelled; }
  Json metrics() const override;
  void write_predictions(const std::filesystem::path& directory, const std::string& prefix) const override;

 private:
  double loss_of(size_t sample) const;
  size_t outputs() const { return std::max<size_t>(1, labels_.size()); }
  std::vector<tasks::ClassifyPrediction> predictions() const;

  tasks::ClassifyData data_;
  tasks::LabelMap labels_;
  std::vector<std::vector<int64_t>> label_ids_;
  std::vector<float> logits_;  ///< [samples][outputs]
};

}  // namespace qdqbert::train
