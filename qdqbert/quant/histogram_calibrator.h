#pragma once

#include "qdqbert/quant/bin_counter.h"
#include "qdqbert/quant/calibrator.h"
#include "qdqbert/quant/histogram.h"

namespace qdqbert::quant {

struct HistogramOptions {
  int num_bins = 2048;
  bool skip_zeros = false;
  /// Bins and edges as PyTorch's histc and arange give them, from 0; else as numpy's histogram.
  bool torch_hist = false;
  /// Bins never exceed this multiple of the first bin count; 0: no limit (as the toolkit).
  int max_growth = 8;
};

/// Histogram of |x| whose range grows with the data. Per tensor only.
class HistogramCalibrator final : public Calibrator {
 public:
  /// Throws InputError for an axis (only one range for the whole tensor is supported) or num_bins <= 0.
  HistogramCalibrator(int num_bits, std::optional<Axis> axis, bool is_unsigned,
                      HistogramOptions options = {});

  /// Adds |x| to the histogram. `shape` is not used. Beyond max_growth neighbouring bins are merged in pairs
  /// (their width doubles) and one warning is logged.
  void collect(std::span<const float> x, const Shape& shape) override;
  /// Throws UsageError without a method; InputError for a percentile outside [0, 100],
  /// stride < 1, fewer bins than start_bin needs.
  std::optional<FloatArray> compute_amax(const AmaxRequest& request) override;
  /// Drops counts and edges; a grown torch-style bin count stays, as in the toolkit.
  void reset() override;
  void join() override;
  std::unique_ptr<Calibrator> clone() const override;
  std::string class_name() const override { return "HistogramCalibrator"; }
  std::string to_string() const override;

  /// Counts and edges so far; empty before the first batch.
  const Histogram& histogram() const { return histogram_; }
  int num_bins() const { return num_bins_; }

 private:
  void check(const Magnitudes& found) const;
  void start(const BatchExtremes& batch);
  void grow(float largest);
  void count(std::span<const float> x, const Magnitudes& found, bool is_first);
  void grow_numpy(float largest);
  void grow_torch(float largest);
  void merge_bins(size_t wanted);
  size_t most_bins() const;

  HistogramOptions options_;
  int num_bins_;
  int first_bins_ = 0;  ///< of the current histogram
  Histogram histogram_;
  bool wide_ = false;  ///< numpy-style edges have become float64
  bool warned_ = false;
  std::shared_ptr<const BinCounter> counter_;  ///< for the current edges; nullptr after they changed
};

}  // namespace qdqbert::quant
