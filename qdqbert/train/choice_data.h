// Multiple choice with any number of choices.
#pragma once

#include "qdqbert/tasks/choice_features.h"
#include "qdqbert/train/task_data.h"

namespace qdqbert::train {

class ChoiceData : public TaskData {
 public:
  ChoiceData(tasks::ChoiceData data, const TaskContext& context);

  int64_t size() const override { return static_cast<int64_t>(data_.examples.size()); }
  /// Tokens of the longest choice.
  int64_t length(int64_t sample) const override { return lengths_[static_cast<size_t>(sample)]; }
  int64_t width(int64_t sample) const override { return padded_width_ > 0 ? padded_width_ : length(sample); }
  bool pads_right() const override { return features_.rows.pads_right(); }
  /// Every choice an example of its own, [choices, 1, width]: no padding choices, whatever their numbers.
  model::ModelInputs inputs(std::span<const int64_t> samples, int64_t width) const override;
  /// [samples, most choices, width]; choices that an example lacks are rows with an attention mask of zeros.
  model::ModelInputs batch(std::span<const int64_t> samples, int64_t micro_step) override;
  std::optional<double> chance_loss(const model::ModelInputs& batch) const override;
  /// Leaves choices that are not there out of the softmax.
  std::function<at::Tensor(model::PreTrainedModel&, const model::ModelInputs&, const model::ForwardOptions&)>
  loss() const override;
  void begin_evaluation(bool padded) override;
  void collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) override;
  bool scored() const override { return data_.labelled; }
  Json metrics() const override;
  void write_predictions(const std::filesystem::path& directory, const std::string& prefix) const override;

 private:
  tasks::ChoiceData data_;
  tasks::ChoiceFeatures features_;
  std::vector<int64_t> lengths_;
  int64_t padded_width_ = 0;
  int64_t width_multiple_ = 1;
  std::vector<float> logits_;  ///< one of each row
};

}  // namespace qdqbert::train
