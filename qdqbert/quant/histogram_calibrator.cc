#include "qdqbert/quant/histogram_calibrator.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/quant/magnitudes.h"
#include "qdqbert/quant/numpy_histogram.h"
#include "qdqbert/quant/torch_histogram.h"

namespace qdqbert::quant {

namespace {

constexpr size_t kUnlimitedBins = size_t{1} << 28;

}  // namespace

HistogramCalibrator::HistogramCalibrator(int num_bits, std::optional<Axis> axis, bool is_unsigned,
                                         HistogramOptions options)
    : Calibrator(num_bits, std::move(axis), is_unsigned), options_(options), num_bins_(options.num_bins) {
  if (this->axis())
    fail("[calibrator] a histogram has one range for the whole tensor, got axis={}", text_of(*this->axis()));
  if (num_bins_ < 1) fail("[calibrator] the number of bins must be positive, got {}", num_bins_);
}

void HistogramCalibrator::collect(std::span<const float> x, const Shape&) {
  if (x.empty()) fail("[calibrator] an empty tensor has no range");
  const Magnitudes found = magnitudes(x);
  if (is_counting()) check(found);
  const BatchExtremes mine{is_counting(), found.smallest_nonzero, found.largest, found.saw_zero};
  const std::vector<BatchExtremes> round = peers() ? peers()->exchange(mine) : std::vector{mine};
  const size_t me = peers() ? peers()->rank() : 0;
  // One batch after the other, as a single process would: the edges at the time of
  // a batch decide where its largest values go.
  for (size_t rank = 0; rank < round.size(); ++rank) {
    if (!round[rank].counts) continue;
    const bool is_first = histogram_.empty();
    if (is_first) {
      start(round[rank]);
    } else if (!found.saw_nan && round[rank].largest > histogram_.edges.back()) {
      // A NaN hides the maximum from the toolkit, so nothing grows.
      grow(round[rank].largest);
    }
    if (rank == me) count(x, found, is_first);
  }
}

void HistogramCalibrator::check(const Magnitudes& found) const {
  if (found.saw_nan && (refuses_non_finite() || histogram_.empty()))
    fail("[calibrator] calibration data hold NaN");
  if (!std::isfinite(found.largest)) fail("[calibrator] calibration data hold infinity");
  const bool may_be_zero = !options_.torch_hist && histogram_.empty();
  if (options_.skip_zeros && found.largest == 0 && !found.saw_nan && !may_be_zero)
    fail("[calibrator] a batch holds only zeros, which are skipped");
}

void HistogramCalibrator::start(const BatchExtremes& batch) {
  first_bins_ = num_bins_;
  histogram_.counts.assign(static_cast<size_t>(num_bins_), 0);
  histogram_.edges = options_.torch_hist ? torch_linspace(batch.largest, num_bins_)
                                         : numpy_edges(FirstRange(batch, options_.skip_zeros), num_bins_);
}

void HistogramCalibrator::grow(float largest) {
  options_.torch_hist ? grow_torch(largest) : grow_numpy(largest);
}

void HistogramCalibrator::count(std::span<const float> x, const Magnitudes& found, bool is_first) {
  const bool skip_zeros = options_.skip_zeros;
  if (options_.torch_hist) {
    torch_count(x, static_cast<float>(histogram_.edges.back()), skip_zeros, found.saw_nan, histogram_.counts);
  } else if (is_first) {
    const FirstRange range({true, found.smallest_nonzero, found.largest, found.saw_zero}, skip_zeros);
    numpy_count(x, range, skip_zeros, histogram_);
  } else {
    if (!counter_) counter_ = std::make_shared<const BinCounter>(histogram_.edges);
    // A NaN hides the negative values too: no sign is dropped.
    if (found.saw_nan) {
      counter_->count_signed(x, skip_zeros, histogram_.counts);
    } else {
      counter_->count(x, skip_zeros, histogram_.counts);
    }
  }
}

void HistogramCalibrator::join() {
  if (peers() && !histogram_.empty()) peers()->sum(histogram_.counts);
}

size_t HistogramCalibrator::most_bins() const {
  if (options_.max_growth <= 0) return kUnlimitedBins;
  return static_cast<size_t>(first_bins_) * static_cast<size_t>(options_.max_growth);
}

void HistogramCalibrator::grow_numpy(float largest) {
  AppendedEdges added = appended_edges(histogram_, largest, wide_);
  while (!(static_cast<double>(histogram_.counts.size()) + added.count <= static_cast<double>(most_bins()))) {
    if (!(histogram_.edges[1] > histogram_.edges[0]))
      fail("[calibrator] bins have no width: the first batch lay between {} and {}", histogram_.edges.front(),
           histogram_.edges.back());
    merge_bins(histogram_.counts.size() + static_cast<size_t>(std::min(added.count, 1e15)));
    added = appended_edges(histogram_, largest, wide_);
  }
  for (double k = 0; k < added.count; ++k) histogram_.edges.push_back(added.first + k * added.step);
  histogram_.counts.resize(histogram_.edges.size() - 1);
  wide_ = true;
  counter_.reset();
}

void HistogramCalibrator::grow_torch(float largest) {
  float width = static_cast<float>(histogram_.edges[1] - histogram_.edges[0]);
  if (!(width > 0)) fail("[calibrator] bins have no width: the first batch held only zeros");
  float bins = std::ceil(largest / width);
  while (bins > static_cast<float>(most_bins())) {
    merge_bins(static_cast<size_t>(std::min(bins, 1e15f)));
    width = static_cast<float>(histogram_.edges[1] - histogram_.edges[0]);
    bins = std::ceil(largest / width);
  }
  num_bins_ = static_cast<int>(bins);
  histogram_.edges = torch_arange(largest + width, width);
  histogram_.counts.resize(static_cast<size_t>(num_bins_));
}

void HistogramCalibrator::merge_bins(size_t wanted) {
  if (!warned_) {
    warned_ = true;
    log_warning(
        "a histogram would need {} bins for its range, more than {} times its first {}: "
        "neighbouring bins are merged",
        wanted, options_.max_growth, first_bins_);
  }
  std::vector<int64_t>& counts = histogram_.counts;
  std::vector<double>& edges = histogram_.edges;
  edges.resize(counts.size() + 1);
  if (counts.size() % 2 == 1) {
    edges.push_back(edges.back() + (edges[1] - edges[0]));
    counts.push_back(0);
  }
  for (size_t k = 0; k < counts.size() / 2; ++k) {
    counts[k] = counts[2 * k] + counts[2 * k + 1];
    edges[k] = edges[2 * k];
  }
  edges[counts.size() / 2] = edges.back();
  counts.resize(counts.size() / 2);
  edges.resize(counts.size() + 1);
  counter_.reset();
}

std::optional<FloatArray> HistogramCalibrator::compute_amax(const AmaxRequest& request) {
  if (!request.method)
    fail<UsageError>("[calibrator] a histogram needs a method: percentile, entropy or mse");
  if (*request.method == HistogramMethod::kPercentile && (request.percentile < 0 || request.percentile > 100))
    fail("[calibrator] percentile must be in [0, 100], got {}", request.percentile);
  if (histogram_.empty()) return std::nullopt;
  switch (*request.method) {
    case HistogramMethod::kPercentile:
      return FloatArray::scalar(percentile_amax(histogram_, request.percentile));
    case HistogramMethod::kEntropy: {
      if (!options_.torch_hist)
        return FloatArray::scalar(
            entropy_amax(histogram_, num_bits(), is_unsigned(), request.stride, request.start_bin));
      Histogram copy = histogram_;
      return FloatArray::scalar(
          entropy_amax(copy, num_bits(), is_unsigned(), request.stride, request.start_bin));
    }
    case HistogramMethod::kMse:
      return FloatArray::scalar(mse_amax(histogram_, num_bits(), is_unsigned(), request.stride,
                                         request.start_bin, request.only_positive));
  }
  return std::nullopt;
}

void HistogramCalibrator::reset() {
  histogram_ = {};
  wide_ = false;
  counter_.reset();
}

std::unique_ptr<Calibrator> HistogramCalibrator::clone() const {
  return std::make_unique<HistogramCalibrator>(*this);
}

std::string HistogramCalibrator::to_string() const {
  if (histogram_.empty()) return "HistogramCalibrator(calib_bin_edges=None)";
  return fmt::format("HistogramCalibrator(calib_bin_edges=[{:.3f}, ..., {:.3f}]({}))",
                     histogram_.edges.front(), histogram_.edges.back(), histogram_.edges.size());
}

}  // namespace qdqbert::quant
