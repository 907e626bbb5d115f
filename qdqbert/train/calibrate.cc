#include "qdqbert/train/calibrate.h"

#include "qdqbert/base/error.h"

namespace qdqbert::train {

namespace {

bool is_weight_quantizer(const std::string& name) {
  constexpr std::string_view kTail = "_weight_quantizer";
  return name.size() >= kTail.size() && name.compare(name.size() - kTail.size(), kTail.size(), kTail) == 0;
}

}  // namespace

int64_t collect_statistics(model::PreTrainedModel& model, const BatchSource& source, int64_t expected_samples,
                           const ProgressSink& progress) {
  log_info("Enabling Calibration");
  const std::vector<model::NamedQuantizer> quantizers = model.named_quantizers();
  for (const model::NamedQuantizer& item : quantizers) {
    nn::TensorQuantizer& quantizer = *item.quantizer;
    if (quantizer.calibrator()) {
      quantizer.calibrator()->set_non_finite(quant::NonFinite::kRefuse);
      quantizer.disable_quant();
      quantizer.enable_calib();
    } else {
      quantizer.disable();
    }
    log(LogLevel::kDebug, fmt::format("{:80}: {}", item.name, quantizer.to_string()));
  }
  model.eval();
  const at::NoGradGuard no_grad;
  int64_t samples = 0;
  while (const std::optional<CalibrationBatch> batch = source()) {
    model.forward(batch->inputs);
    if (samples == 0)
      for (const model::NamedQuantizer& item : quantizers)
        if (is_weight_quantizer(item.name)) item.quantizer->disable_calib();
    samples += batch->samples;
    if (progress) progress("calibrating", samples, std::max(expected_samples, samples));
  }
  if (samples == 0) fail("[calibration] there is no sample to calibrate on");
  return samples;
}

void load_ranges(model::PreTrainedModel& model, CalibrationMethod method, std::optional<double> percentile) {
  log_info("Loading calibrated amax");
  quant::AmaxRequest request;
  switch (method) {
    case CalibrationMethod::kPercentile:
      request.method = quant::HistogramMethod::kPercentile;
      if (!percentile) fail<UsageError>("[calibrator] percentile needs --percentile P");
      request.percentile = *percentile;
      break;
    case CalibrationMethod::kMse:
      request.method = quant::HistogramMethod::kMse;
      break;
    case CalibrationMethod::kEntropy:
      request.method = quant::HistogramMethod::kEntropy;
      break;
    case CalibrationMethod::kMax:
      break;
  }
  const at::NoGradGuard no_grad;
  for (const model::NamedQuantizer& item : model.named_quantizers()) {
    nn::TensorQuantizer& quantizer = *item.quantizer;
    if (quantizer.calibrator()) {
      const bool by_maximum = quantizer.calibrator()->class_name() == "MaxCalibrator";
      quantizer.load_calib_amax(by_maximum ? quant::AmaxRequest{} : request);
      quantizer.enable_quant();
      quantizer.disable_calib();
    } else {
      quantizer.enable();
    }
  }
}

int64_t calibrate(model::PreTrainedModel& model, const BatchSource& source, int64_t expected_samples,
                  const QuantOptions& options, const ProgressSink& progress) {
  options.validate();
  const int64_t samples = collect_statistics(model, source, expected_samples, progress);
  load_ranges(model, options.calibrator, options.percentile);
  if (options.clip_gelu && *options.clip_gelu > 0) clip_gelu(model, *options.clip_gelu);
  return samples;
}

}  // namespace qdqbert::train
