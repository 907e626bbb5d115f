#include "qdqbert/train/choice_data.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "qdqbert/base/error.h"
#include "qdqbert/model/losses.h"

namespace qdqbert::train {

ChoiceData::ChoiceData(tasks::ChoiceData data, const TaskContext& context)
    : data_(std::move(data)),
      features_(tasks::ChoiceFeatures::build(data_, context.tokenizer, static_cast<int>(context.max_length),
                                             context.threads)),
      padded_width_(context.pad_to_max_length ? context.max_length : 0),
      width_multiple_(context.width_multiple) {
  for (size_t e = 0; e < data_.examples.size(); ++e) {
    size_t longest = 0;
    for (size_t row = features_.begin[e]; row < features_.begin[e + 1]; ++row)
      longest = std::max(longest, features_.rows.length(row));
    lengths_.push_back(static_cast<int64_t>(longest));
  }
}

model::ModelInputs ChoiceData::inputs(std::span<const int64_t> samples, int64_t width) const {
  std::vector<int64_t> rows;
  for (const int64_t sample : samples)
    for (size_t row = features_.begin[static_cast<size_t>(sample)];
         row < features_.begin[static_cast<size_t>(sample) + 1]; ++row)
      rows.push_back(static_cast<int64_t>(row));
  model::ModelInputs out = inputs_of(features_.rows, rows, width);
  for (at::Tensor* tensor : {&out.input_ids, &out.attention_mask, &out.token_type_ids})
    *tensor = tensor->unsqueeze(1);
  return out;
}

model::ModelInputs ChoiceData::batch(std::span<const int64_t> samples, int64_t) {
  if (!data_.labelled) fail("[training] {} has no answers", data_.name);
  const int64_t columns = batch_width(*this, samples, width_multiple_);
  size_t choices = 1;
  for (const int64_t sample : samples)
    choices = std::max(choices, data_.examples[static_cast<size_t>(sample)].choices.size());
  const auto count = static_cast<int64_t>(samples.size()), most = static_cast<int64_t>(choices);
  model::ModelInputs out;
  out.input_ids = at::full({count, most, columns}, features_.rows.pad_id(), at::kLong);
  out.attention_mask = at::zeros({count, most, columns}, at::kLong);
  out.token_type_ids = at::zeros({count, most, columns}, at::kLong);
  out.labels = at::empty({count}, at::kLong);
  for (int64_t r = 0; r < count; ++r) {
    const auto sample = static_cast<size_t>(samples[static_cast<size_t>(r)]);
    for (size_t c = 0; c < data_.examples[sample].choices.size(); ++c) {
      const auto row = [&](const at::Tensor& tensor) {
        return std::span(tensor.data_ptr<int64_t>() + (r * most + static_cast<int64_t>(c)) * columns,
                         static_cast<size_t>(columns));
      };
      features_.rows.fill(features_.begin[sample] + c, row(out.input_ids), row(out.attention_mask),
                          row(out.token_type_ids));
    }
    out.labels.data_ptr<int64_t>()[r] = *data_.examples[sample].answer;
  }
  return out;
}

std::optional<double> ChoiceData::chance_loss(const model::ModelInputs& batch) const {
  return batch.attention_mask.any(-1).sum(-1).to(at::kDouble).log().mean().item<double>();
}

std::function<at::Tensor(model::PreTrainedModel&, const model::ModelInputs&, const model::ForwardOptions&)>
ChoiceData::loss() const {
  if (data_.uniform()) return nullptr;
  return [](model::PreTrainedModel& model, const model::ModelInputs& batch,
            const model::ForwardOptions& options) {
    model::ModelInputs unlabelled = batch;
    unlabelled.labels = at::Tensor();
    const at::Tensor absent = batch.attention_mask.any(-1).logical_not();
    const at::Tensor logits = model.forward(unlabelled, options).logits;
    return model::cross_entropy(logits.masked_fill(absent, -std::numeric_limits<float>::infinity()),
                                batch.labels);
  };
}

void ChoiceData::begin_evaluation(bool) {
  logits_.assign(features_.rows.size(), 0);
}

void ChoiceData::collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) {
  const at::Tensor logits = outputs.logits.to(at::kFloat).contiguous();
  const float* from = logits.data_ptr<float>();
  for (const int64_t sample : samples)
    for (size_t row = features_.begin[static_cast<size_t>(sample)];
         row < features_.begin[static_cast<size_t>(sample) + 1]; ++row)
      logits_[row] = *from++;
}

Json ChoiceData::metrics() const {
  Json metrics = tasks::choice_metrics(data_, tasks::choice_predictions(features_, logits_));
  MeanLoss loss;
  for (size_t e = 0; e < data_.examples.size(); ++e)
    loss.add(negative_log_likelihood(
        std::span(logits_).subspan(features_.begin[e], features_.begin[e + 1] - features_.begin[e]),
        static_cast<size_t>(*data_.examples[e].answer)));
  metrics["loss"] = loss.mean();
  return metrics;
}

void ChoiceData::write_predictions(const std::filesystem::path& directory, const std::string& prefix) const {
  tasks::write_choice_predictions(directory, prefix, data_, tasks::choice_predictions(features_, logits_));
}

}  // namespace qdqbert::train
