// Collecting statistics of tensors and turning them into ranges.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/quant/calibration_peers.h"
#include "qdqbert/quant/descriptor.h"
#include "qdqbert/quant/float_array.h"

namespace qdqbert::quant {

enum class HistogramMethod { kPercentile, kEntropy, kMse };

/// "percentile", "entropy", "mse"; throws InputError for another name.
HistogramMethod parse_histogram_method(std::string_view name);
std::string_view name_of(HistogramMethod method);

/// How a range is taken from what was collected.
/// The maximum calibrator takes no method; the histogram needs one.
struct AmaxRequest {
  std::optional<HistogramMethod> method;
  double percentile = 99.99;  ///< 0..100
  int stride = 1;             ///< entropy, mse: step between candidate bins
  int start_bin = 128;        ///< entropy, mse: first candidate
  /// mse: leaves out bins below zero, which the toolkit refuses; a tensor of one magnitude has them.
  bool only_positive = false;
};

/// What collect() does with NaN and infinities.
enum class NonFinite {
  /// Maximum: propagates. Histogram: refused in the first batch, later NaN is dropped and inf refused.
  kAsToolkit,
  /// InputError in every batch; nothing is collected from it.
  kRefuse,
};

/// Memory does not grow with the number of batches.
class Calibrator {
 public:
  virtual ~Calibrator() = default;

  /// Adds one batch. Throws InputError, without a quantizer's name: the caller knows it.
  virtual void collect(std::span<const float> x, const Shape& shape) = 0;
  /// The range of everything collected since reset(); nullopt when that is nothing. Not const: the entropy
  /// method changes the first bin of a numpy-style histogram, as the toolkit does. Throws UsageError for a
  /// request that does not fit the calibrator, InputError for data that cannot be used.
  virtual std::optional<FloatArray> compute_amax(const AmaxRequest& request = {}) = 0;
  virtual void reset() = 0;
  /// After the last round: what this calibrator holds becomes what a single process would hold that saw all
  /// batches in order, bit for bit. Does nothing without peers.
  virtual void join() = 0;
  virtual std::unique_ptr<Calibrator> clone() const = 0;

  virtual std::string class_name() const = 0;  ///< "MaxCalibrator", "HistogramCalibrator"
  virtual std::string to_string() const = 0;   ///< the toolkit's str()

  int num_bits() const { return num_bits_; }
  const std::optional<Axis>& axis() const { return axis_; }
  bool is_unsigned() const { return is_unsigned_; }
  void set_non_finite(NonFinite rule) { non_finite_ = rule; }
  /// From now on collect() is collective, one call a round, and NaN or infinity
  /// are refused. nullptr: alone again.
  void set_peers(CalibrationPeers* peers) { peers_ = peers; }
  /// False: the next batches are only there to keep step with the peers, nothing is taken from them.
  void set_counting(bool counting) { counting_ = counting; }

 protected:
  Calibrator(int num_bits, std::optional<Axis> axis, bool is_unsigned)
      : num_bits_(num_bits), axis_(std::move(axis)), is_unsigned_(is_unsigned) {}
  CalibrationPeers* peers() const { return peers_; }
  bool is_counting() const { return counting_; }
  bool refuses_non_finite() const { return peers_ || non_finite_ == NonFinite::kRefuse; }

 private:
  int num_bits_;
  std::optional<Axis> axis_;
  bool is_unsigned_;
  NonFinite non_finite_ = NonFinite::kAsToolkit;
  CalibrationPeers* peers_ = nullptr;
  bool counting_ = true;
};

/// The calibrator a quantizer makes for itself: by descriptor.calib_method; nullptr for kOther. Throws
/// InputError for a histogram with an axis.
std::unique_ptr<Calibrator> make_calibrator(const QuantDescriptor& descriptor);

}  // namespace qdqbert::quant
