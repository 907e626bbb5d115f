#include "qdqbert/train/squad_data.h"

#include <algorithm>
#include <cmath>

namespace qdqbert::train {

SquadData::SquadData(std::vector<tasks::SquadExample> examples, tasks::SquadFeatures features,
                     const tasks::AnswerOptions& options, bool scored, int64_t width_multiple)
    : examples_(std::move(examples)),
      features_(std::move(features)),
      options_(options),
      scored_(scored),
      width_multiple_(width_multiple) {}

model::ModelInputs SquadData::inputs(std::span<const int64_t> samples, int64_t width) const {
  return batch_of(features_, std::vector<size_t>(samples.begin(), samples.end()), static_cast<size_t>(width));
}

model::ModelInputs SquadData::batch(std::span<const int64_t> samples, int64_t) {
  model::ModelInputs out = inputs(samples, batch_width(*this, samples, width_multiple_));
  out.start_positions = at::empty({static_cast<int64_t>(samples.size())}, at::kLong);
  out.end_positions = at::empty({static_cast<int64_t>(samples.size())}, at::kLong);
  for (size_t r = 0; r < samples.size(); ++r) {
    const tasks::SquadFeature& feature = features_[static_cast<size_t>(samples[r])];
    out.start_positions.data_ptr<int64_t>()[r] = feature.start_position;
    out.end_positions.data_ptr<int64_t>()[r] = feature.end_position;
  }
  return out;
}

std::optional<double> SquadData::chance_loss(const model::ModelInputs& inputs) const {
  return std::log(static_cast<double>(inputs.input_ids.size(1)));
}

void SquadData::begin_evaluation(bool padded) {
  evaluation_.reset();
  logits_.begin.assign(1, 0);
  for (size_t f = 0; f < features_.size(); ++f)
    logits_.begin.push_back(logits_.begin.back() + (padded ? features_.width(f) : features_[f].length));
  logits_.start.assign(logits_.begin.back(), 0);
  logits_.end.assign(logits_.begin.back(), 0);
}

void SquadData::collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) {
  const at::Tensor start = outputs.start_logits.to(at::kFloat).contiguous(),
                   end = outputs.end_logits.to(at::kFloat).contiguous();
  const auto width = static_cast<size_t>(start.size(1));
  for (size_t r = 0; r < samples.size(); ++r) {
    const auto f = static_cast<size_t>(samples[r]);
    const size_t to = logits_.begin[f], count = logits_.begin[f + 1] - to;
    std::copy_n(start.data_ptr<float>() + r * width, count,
                logits_.start.begin() + static_cast<std::ptrdiff_t>(to));
    std::copy_n(end.data_ptr<float>() + r * width, count,
                logits_.end.begin() + static_cast<std::ptrdiff_t>(to));
  }
}

const tasks::SquadEvaluation& SquadData::evaluation() const {
  if (!evaluation_) evaluation_ = tasks::evaluate_squad(examples_, features_, logits_, options_, scored_);
  return *evaluation_;
}

Json SquadData::metrics() const {
  return evaluation().metrics;
}

void SquadData::write_predictions(const std::filesystem::path& directory, const std::string& prefix) const {
  tasks::write_answers(directory, prefix, examples_, evaluation(), options_.version_2);
}

}  // namespace qdqbert::train
