// Ranges of weights straight from their values, without a calibrator.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "qdqbert/quant/float_array.h"

namespace qdqbert::quant {

enum class WeightMethod { kMax, kPercentile, kMse };

/// "max", "percentile", "mse"; throws InputError for another name ("entropy" included).
WeightMethod parse_weight_method(std::string_view name);

struct WeightCalibration {
  WeightMethod method = WeightMethod::kPercentile;
  double percentile = 99.99;
  int num_bins = 2048;  ///< per channel; one range for the whole tensor always uses 2048
  int num_bits = 8;     ///< kMse
  bool is_unsigned = false;
};

/// The toolkit's calibrate_weights for one weight. `channel_axis`: dimension with a range each (result has
/// size 1 in the others), nullopt: one range (result is a scalar). Throws InputError: kMax without an axis
/// (as the toolkit), NaN or infinity, a channel of zeros with kMse, an axis out of range.
FloatArray calibrate_weight(std::span<const float> weight, const Shape& shape,
                            std::optional<int> channel_axis, const WeightCalibration& options);

}  // namespace qdqbert::quant
