#include "qdqbert/quant/calibrator.h"

#include "qdqbert/base/error.h"
#include "qdqbert/quant/histogram_calibrator.h"
#include "qdqbert/quant/max_calibrator.h"

namespace qdqbert::quant {

HistogramMethod parse_histogram_method(std::string_view name) {
  for (const HistogramMethod method :
       {HistogramMethod::kPercentile, HistogramMethod::kEntropy, HistogramMethod::kMse})
    if (name == name_of(method)) return method;
  fail("[calibrator] unknown calibration method {}; use percentile, entropy or mse", name);
}

std::string_view name_of(HistogramMethod method) {
  switch (method) {
    case HistogramMethod::kPercentile:
      return "percentile";
    case HistogramMethod::kEntropy:
      return "entropy";
    case HistogramMethod::kMse:
      return "mse";
  }
  return "?";
}

std::unique_ptr<Calibrator> make_calibrator(const QuantDescriptor& descriptor) {
  switch (descriptor.calib_method) {
    case CalibMethod::kMax:
      return std::make_unique<MaxCalibrator>(descriptor.num_bits, descriptor.axis, descriptor.is_unsigned);
    case CalibMethod::kHistogram:
      return std::make_unique<HistogramCalibrator>(descriptor.num_bits, descriptor.axis,
                                                   descriptor.is_unsigned);
    case CalibMethod::kOther:
      break;
  }
  return nullptr;
}

}  // namespace qdqbert::quant
