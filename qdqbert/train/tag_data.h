// Token classification.
#pragma once

#include "qdqbert/tasks/tag_features.h"
#include "qdqbert/train/task_data.h"

namespace qdqbert::train {

class TagData : public RowData {
 public:
  /// Throws InputError naming file and line for a tag that `labels` lacks. Warns of words that are cut.
  TagData(tasks::TagData data, tasks::LabelMap labels, bool label_all_tokens, bool by_type,
          const TaskContext& context);

  model::ModelInputs batch(std::span<const int64_t> samples, int64_t micro_step) override;
  std::optional<double> chance_loss(const model::ModelInputs& batch) const override;
  void begin_evaluation(bool padded) override;
  void collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) override;
  bool scored() const override { return data_.labelled; }
  Json metrics() const override;
  void write_predictions(const std::filesystem::path& directory, const std::string& prefix) const override;

 private:
  tasks::TagData data_;
  tasks::LabelMap labels_;
  tasks::TagFeatures features_;
  bool by_type_;
  std::vector<tasks::TagPrediction> predictions_;
  MeanLoss loss_;
  mutable bool warned_ = false;  ///< of tags that the score takes for something else
};

}  // namespace qdqbert::train
