#include "qdqbert/quant/calibrate_weights.h"

#include <algorithm>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/histogram.h"
#include "qdqbert/quant/numpy_histogram.h"
#include "qdqbert/quant/reduce_amax.h"

namespace qdqbert::quant {

namespace {

constexpr int kBinsOfWholeTensor = 2048;
constexpr int kStride = 1;
constexpr int kStartBin = 128;

float amax_of(std::span<const float> values, int bins, const WeightCalibration& options) {
  const Histogram histogram = numpy_histogram(values, bins);
  return options.method == WeightMethod::kMse
             ? mse_amax(histogram, options.num_bits, options.is_unsigned, kStride, kStartBin)
             : percentile_amax(histogram, options.percentile);
}

}  // namespace

WeightMethod parse_weight_method(std::string_view name) {
  if (name == "max") return WeightMethod::kMax;
  if (name == "percentile") return WeightMethod::kPercentile;
  if (name == "mse") return WeightMethod::kMse;
  fail("[calibrate_weights] unsupported calibration method {}; use max, percentile or mse", name);
}

FloatArray calibrate_weight(std::span<const float> weight, const Shape& shape,
                            std::optional<int> channel_axis, const WeightCalibration& options) {
  if (element_count(shape) != static_cast<int64_t>(weight.size()) || weight.empty())
    fail("[calibrate_weights] shape {} has {} elements, the weight has {}", to_string(shape),
         element_count(shape), weight.size());
  if (!all_finite(weight)) fail("[calibrate_weights] the weight holds NaN or infinity");
  if (!channel_axis) {
    if (options.method == WeightMethod::kMax) fail("[calibrate_weights] max needs a channel axis, got none");
    return FloatArray::scalar(amax_of(weight, kBinsOfWholeTensor, options));
  }
  const int rank = static_cast<int>(shape.size()), axis = *channel_axis;
  if (axis < 0 || axis >= rank)
    fail("[calibrate_weights] channel axis {} is out of range for a weight with {} dimensions", axis, rank);

  const size_t d = static_cast<size_t>(axis);
  FloatArray result{Shape(shape.size(), 1), {}};
  result.shape[d] = shape[d];
  if (options.method == WeightMethod::kMax) {
    result.values = amax_of_kept_axes(weight, shape, {axis}).values;
    return result;
  }
  size_t inner = 1;
  for (size_t i = d + 1; i < shape.size(); ++i) inner *= static_cast<size_t>(shape[i]);
  const size_t channels = static_cast<size_t>(shape[d]), outer = weight.size() / inner / channels;
  std::vector<float> slice(outer * inner);
  for (size_t c = 0; c < channels; ++c) {
    for (size_t o = 0; o < outer; ++o)
      std::copy_n(weight.begin() + static_cast<ptrdiff_t>((o * channels + c) * inner), inner,
                  slice.begin() + static_cast<ptrdiff_t>(o * inner));
    result.values.push_back(amax_of(slice, options.num_bins, options));
  }
  return result;
}

}  // namespace qdqbert::quant
