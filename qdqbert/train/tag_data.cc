#include "qdqbert/train/tag_data.h"

#include <cmath>

#include "qdqbert/base/error.h"

namespace qdqbert::train {

TagData::TagData(tasks::TagData data, tasks::LabelMap labels, bool label_all_tokens, bool by_type,
                 const TaskContext& context)
    : data_(std::move(data)), labels_(std::move(labels)), by_type_(by_type) {
  tasks::TagFeatureOptions options;
  options.max_length = static_cast<int>(context.max_length);
  options.label_all_tokens = label_all_tokens;
  features_ = tasks::TagFeatures::build(data_, labels_, context.tokenizer, options, context.threads);
  if (features_.cut_words > 0)
    log_warning("{}: {} words lie beyond --max_seq_length {}; they are neither trained on nor scored",
                data_.name, features_.cut_words, context.max_length);
  set_rows(std::move(features_.rows), context);
}

model::ModelInputs TagData::batch(std::span<const int64_t> samples, int64_t) {
  if (!data_.labelled) fail("[training] {} has no tags", data_.name);
  const int64_t width = batch_width(samples);
  model::ModelInputs out = inputs(samples, width);
  out.labels = at::full({static_cast<int64_t>(samples.size()), width}, tasks::kIgnoredLabel, at::kLong);
  for (size_t r = 0; r < samples.size(); ++r) {
    const auto sample = static_cast<size_t>(samples[r]);
    const auto& labels = features_.labels[sample];
    const size_t first = rows().first_column(sample, static_cast<size_t>(width));
    std::copy(labels.begin(), labels.end(),
              out.labels.data_ptr<int64_t>() + r * static_cast<size_t>(width) + first);
  }
  return out;
}

std::optional<double> TagData::chance_loss(const model::ModelInputs&) const {
  return std::log(static_cast<double>(labels_.size()));
}

void TagData::begin_evaluation(bool) {
  predictions_.assign(data_.examples.size(), {});
  loss_ = {};
}

void TagData::collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) {
  const at::Tensor logits = outputs.logits.to(at::kFloat).contiguous();
  const auto width = static_cast<size_t>(logits.size(1)), labels = labels_.size();
  if (logits.size(2) != static_cast<int64_t>(labels))
    fail("[tag] the model gives {} logits a token, {} are needed", logits.size(2), labels);
  for (size_t r = 0; r < samples.size(); ++r) {
    const auto sample = static_cast<size_t>(samples[r]);
    const size_t first = rows().first_column(sample, width), tokens = rows().length(sample);
    const std::span<const float> row(logits.data_ptr<float>() + (r * width + first) * labels,
                                     tokens * labels);
    predictions_[sample] =
        tasks::predict_tags(features_, sample, data_.examples[sample].words.size(), row, labels_);
    if (!data_.labelled) continue;
    for (size_t t = 0; t < tokens; ++t)
      if (const int64_t label = features_.labels[sample][t]; label != tasks::kIgnoredLabel)
        loss_.add(negative_log_likelihood(row.subspan(t * labels, labels), static_cast<size_t>(label)));
  }
}

Json TagData::metrics() const {
  if (!warned_) {
    if (const auto odd = tasks::doubtful_tags(data_, labels_, predictions_); !odd.empty())
      log_warning(
          "{}: {} are no positions with types (B-, I-, E-, S-) or \"O\"; precision, recall and F1 take their "
          "first letter for a position, as seqeval does",
          data_.name, tasks::list_of_labels(odd));
    warned_ = true;
  }
  Json metrics = tasks::tag_metrics(data_, labels_, predictions_, by_type_);
  metrics["loss"] = loss_.mean();
  return metrics;
}

void TagData::write_predictions(const std::filesystem::path& directory, const std::string& prefix) const {
  tasks::write_tag_predictions(directory, prefix, data_, labels_, predictions_);
}

}  // namespace qdqbert::train
