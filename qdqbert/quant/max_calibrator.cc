#include "qdqbert/quant/max_calibrator.h"

#include <algorithm>
#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/reduce_amax.h"

namespace qdqbert::quant {

namespace {

/// Element-wise maximum in which NaN wins.
void keep_largest(FloatArray& running, const FloatArray& batch) {
  if (running.shape != batch.shape)
    fail("[calibrator] the range has shape {}, this batch gives shape {}", to_string(running.shape),
         to_string(batch.shape));
  for (size_t i = 0; i < running.values.size(); ++i)
    if (batch.values[i] > running.values[i] || std::isnan(batch.values[i]))
      running.values[i] = batch.values[i];
}

}  // namespace

MaxCalibrator::MaxCalibrator(int num_bits, std::optional<Axis> axis, bool is_unsigned, bool track_amax)
    : Calibrator(num_bits, std::move(axis), is_unsigned), track_amax_(track_amax) {}

void MaxCalibrator::collect(std::span<const float> x, const Shape& shape) {
  FloatArray batch = amax_of_kept_axes(x, shape, axis() ? axis()->dims : std::vector<int>{});
  // Zeros of the right shape: below every magnitude, and the peers have a partner for each range.
  if (!is_counting()) std::fill(batch.values.begin(), batch.values.end(), 0.0f);
  if (refuses_non_finite())
    for (const float value : batch.values)
      if (!std::isfinite(value))
        fail("[calibrator] calibration data holds {}", std::isnan(value) ? "NaN" : "infinity");
  if (!amax_) {
    amax_ = std::make_shared<FloatArray>(std::move(batch));
    if (track_amax_) tracked_.push_back(amax_);
    return;
  }
  keep_largest(*amax_, batch);
  if (track_amax_) tracked_.push_back(std::make_shared<const FloatArray>(std::move(batch)));
}

std::optional<FloatArray> MaxCalibrator::compute_amax(const AmaxRequest& request) {
  if (request.method)
    fail<UsageError>("[calibrator] the maximum calibrator takes no method, got {}", name_of(*request.method));
  if (!amax_) return std::nullopt;
  return *amax_;
}

void MaxCalibrator::reset() {
  amax_.reset();
}

void MaxCalibrator::join() {
  if (peers() && amax_) peers()->maximum(amax_->values);
}

std::unique_ptr<Calibrator> MaxCalibrator::clone() const {
  auto copy = std::make_unique<MaxCalibrator>(*this);
  if (amax_) copy->amax_ = std::make_shared<FloatArray>(*amax_);
  for (auto& entry : copy->tracked_)
    if (entry == amax_) entry = copy->amax_;
  return copy;
}

std::string MaxCalibrator::to_string() const {
  return fmt::format("MaxCalibrator(track_amax={})", track_amax_ ? "True" : "False");
}

std::vector<FloatArray> MaxCalibrator::tracked() const {
  if (!track_amax_) fail<UsageError>("[calibrator] ranges of single batches need track_amax");
  std::vector<FloatArray> ranges;
  for (const auto& entry : tracked_) ranges.push_back(*entry);
  return ranges;
}

}  // namespace qdqbert::quant
