#include "qdqbert/train/classify_data.h"

#include <algorithm>
#include <cmath>

#include "qdqbert/base/error.h"

namespace qdqbert::train {

using tasks::ClassifyKind;

ClassifyData::ClassifyData(tasks::ClassifyData data, tasks::LabelMap labels, const TaskContext& context)
    : data_(std::move(data)), labels_(std::move(labels)) {
  if (data_.labelled && data_.kind != ClassifyKind::kRegression)
    for (const tasks::ClassifyExample& example : data_.examples)
      label_ids_.push_back(tasks::label_ids(data_, example, labels_));
  set_rows(tasks::encode_rows(context.tokenizer, data_.first_texts(), data_.second_texts(),
                              static_cast<int>(context.max_length), context.threads),
           context);
}

model::ModelInputs ClassifyData::batch(std::span<const int64_t> samples, int64_t) {
  if (!data_.labelled) fail("[training] {} has no labels", data_.name);
  model::ModelInputs out = inputs(samples, batch_width(samples));
  const auto count = static_cast<int64_t>(samples.size());
  switch (data_.kind) {
    case ClassifyKind::kSingleLabel:
      out.labels = at::empty({count}, at::kLong);
      for (int64_t r = 0; r < count; ++r)
        out.labels.data_ptr<int64_t>()[r] =
            label_ids_[static_cast<size_t>(samples[static_cast<size_t>(r)])][0];
      break;
    case ClassifyKind::kMultiLabel:
      out.labels = at::zeros({count, static_cast<int64_t>(outputs())}, at::kFloat);
      for (int64_t r = 0; r < count; ++r)
        for (const int64_t label : label_ids_[static_cast<size_t>(samples[static_cast<size_t>(r)])])
          out.labels[r][label] = 1;
      break;
    case ClassifyKind::kRegression:
      out.labels = at::empty({count}, at::kFloat);
      for (int64_t r = 0; r < count; ++r)
        out.labels.data_ptr<float>()[r] =
            static_cast<float>(data_.examples[static_cast<size_t>(samples[static_cast<size_t>(r)])].value);
      break;
  }
  return out;
}

std::optional<double> ClassifyData::chance_loss(const model::ModelInputs&) const {
  switch (data_.kind) {
    case ClassifyKind::kSingleLabel:
      return std::log(static_cast<double>(outputs()));
    case ClassifyKind::kMultiLabel:
      return std::log(2.0);
    case ClassifyKind::kRegression:
      break;
  }
  return std::nullopt;
}

void ClassifyData::begin_evaluation(bool) {
  logits_.assign(data_.examples.size() * outputs(), 0);
}

void ClassifyData::collect(std::span<const int64_t> samples, const model::ModelOutputs& out) {
  const at::Tensor logits = out.logits.to(at::kFloat).contiguous();
  if (logits.size(-1) != static_cast<int64_t>(outputs()))
    fail("[classify] the model gives {} logits, {} are needed", logits.size(-1), outputs());
  for (size_t r = 0; r < samples.size(); ++r)
    std::copy_n(logits.data_ptr<float>() + r * outputs(), outputs(),
                logits_.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(samples[r]) * outputs()));
}

std::vector<tasks::ClassifyPrediction> ClassifyData::predictions() const {
  return tasks::classify_predictions(logits_, outputs(), data_.kind);
}

double ClassifyData::loss_of(size_t sample) const {
  const std::span<const float> row(logits_.data() + sample * outputs(), outputs());
  if (data_.kind == ClassifyKind::kRegression) return std::pow(row[0] - data_.examples[sample].value, 2);
  if (data_.kind == ClassifyKind::kSingleLabel)
    return negative_log_likelihood(row, static_cast<size_t>(label_ids_[sample][0]));
  double sum = 0;
  for (size_t l = 0; l < row.size(); ++l) {
    const auto& truth = label_ids_[sample];
    const bool has = std::find(truth.begin(), truth.end(), static_cast<int64_t>(l)) != truth.end();
    const double x = has ? -row[l] : row[l];
    sum += std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));  // log(1 + exp(x))
  }
  return sum / static_cast<double>(row.size());
}

Json ClassifyData::metrics() const {
  Json metrics = tasks::classify_metrics(data_, labels_, predictions());
  MeanLoss loss;
  for (size_t s = 0; s < data_.examples.size(); ++s) loss.add(loss_of(s));
  metrics["loss"] = loss.mean();
  return metrics;
}

void ClassifyData::write_predictions(const std::filesystem::path& directory,
                                     const std::string& prefix) const {
  tasks::write_classify_predictions(directory, prefix, data_, labels_, predictions());
}

}  // namespace qdqbert::train
