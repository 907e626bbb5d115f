#pragma once

#include "qdqbert/quant/calibrator.h"

namespace qdqbert::quant {

/// Running maximum of |x| per kept axis.
class MaxCalibrator final : public Calibrator {
 public:
  MaxCalibrator(int num_bits, std::optional<Axis> axis, bool is_unsigned, bool track_amax = false);

  /// Shape of the range is that of amax_of_kept_axes(); a batch that would change it throws InputError. An
  /// empty batch throws InputError.
  void collect(std::span<const float> x, const Shape& shape) override;
  /// Throws UsageError when a method is asked for.
  std::optional<FloatArray> compute_amax(const AmaxRequest& request = {}) override;
  /// Forgets the maximum but, as the toolkit, not the tracked ranges.
  void reset() override;
  /// Ranges of single batches (track_amax) stay this process's own.
  void join() override;
  std::unique_ptr<Calibrator> clone() const override;
  std::string class_name() const override { return "MaxCalibrator"; }
  std::string to_string() const override;

  /// The running maximum itself: later batches show in it until reset(). nullptr before the first batch.
  std::shared_ptr<const FloatArray> shared_amax() const { return amax_; }
  /// Range of every batch; the first entry is the running maximum itself.
  /// Throws UsageError without track_amax.
  std::vector<FloatArray> tracked() const;

 private:
  std::shared_ptr<FloatArray> amax_;
  bool track_amax_;
  std::vector<std::shared_ptr<const FloatArray>> tracked_;
};

}  // namespace qdqbert::quant
