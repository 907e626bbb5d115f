#include "qdqbert/train/squad_training.h"

#include <algorithm>
#include <cmath>

#include "qdqbert/train/evaluate.h"

namespace qdqbert::train {

model::ModelInputs SquadTrainingData::batch(std::span<const int64_t> samples, int64_t) {
  const std::vector<size_t> rows(samples.begin(), samples.end());
  size_t width = 0;
  for (const size_t row : rows) width = std::max(width, features_.width(row));
  width = (width + multiple_ - 1) / multiple_ * multiple_;
  model::ModelInputs inputs = batch_of(features_, rows, width);
  inputs.start_positions = at::empty({static_cast<int64_t>(rows.size())}, at::kLong);
  inputs.end_positions = at::empty({static_cast<int64_t>(rows.size())}, at::kLong);
  for (size_t r = 0; r < rows.size(); ++r) {
    inputs.start_positions.data_ptr<int64_t>()[r] = features_[rows[r]].start_position;
    inputs.end_positions.data_ptr<int64_t>()[r] = features_[rows[r]].end_position;
  }
  return inputs;
}

std::optional<double> SquadTrainingData::chance_loss(const model::ModelInputs& inputs) const {
  return std::log(static_cast<double>(inputs.input_ids.size(1)));
}

}  // namespace qdqbert::train
