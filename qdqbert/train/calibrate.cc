#include "qdqbert/train/calibrate.h"

#include "qdqbert/base/error.h"
#include "qdqbert/train/device.h"

namespace qdqbert::train {

namespace {

bool is_weight_quantizer(const std::string& name) {
  constexpr std::string_view kTail = "_weight_quantizer";
  return name.size() >= kTail.size() && name.compare(name.size() - kTail.size(), kTail.size(), kTail) == 0;
}

class Ranks : public quant::CalibrationPeers {
 public:
  explicit Ranks(ProcessGroup& group) : group_(group) {}

  size_t rank() const override { return static_cast<size_t>(group_.rank()); }

  std::vector<quant::BatchExtremes> exchange(const quant::BatchExtremes& mine) override {
    // Each rank fills its row; a sum with zeros changes no number.
    const at::Tensor rows = at::zeros({group_.size(), 4}, at::kDouble);
    double* own = rows.data_ptr<double>() + 4 * group_.rank();
    own[0] = mine.counts;
    own[1] = mine.smallest_nonzero;
    own[2] = mine.largest;
    own[3] = mine.saw_zero;
    group_.sum(rows);
    std::vector<quant::BatchExtremes> all;
    for (int rank = 0; rank < group_.size(); ++rank) {
      const double* row = rows.data_ptr<double>() + 4 * rank;
      all.push_back({row[0] != 0, static_cast<float>(row[1]), static_cast<float>(row[2]), row[3] != 0});
    }
    return all;
  }
  void sum(std::span<int64_t> values) override {
    group_.sum(at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kLong));
  }
  void maximum(std::span<float> values) override {
    group_.maximum(at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kFloat));
  }

 private:
  ProcessGroup& group_;
};

}  // namespace

int64_t collect_statistics(model::PreTrainedModel& model, const BatchSource& source, int64_t expected_samples,
                           const ProgressSink& progress, ProcessGroup* group) {
  log_info("Enabling Calibration");
  const std::vector<model::NamedQuantizer> quantizers = model.named_quantizers();
  std::optional<Ranks> ranks;
  if (group) ranks.emplace(*group);
  std::vector<quant::Calibrator*> calibrators;
  for (const model::NamedQuantizer& item : quantizers) {
    nn::TensorQuantizer& quantizer = *item.quantizer;
    if (quantizer.calibrator()) {
      calibrators.push_back(quantizer.calibrator());
      calibrators.back()->set_non_finite(quant::NonFinite::kRefuse);
      // Every rank has the same weights.
      if (ranks && !is_weight_quantizer(item.name)) calibrators.back()->set_peers(&*ranks);
      quantizer.disable_quant();
      quantizer.enable_calib();
    } else {
      quantizer.disable();
    }
    log_debug("{:80}: {}", item.name, quantizer.to_string());
  }
  model.eval();
  const at::NoGradGuard no_grad;
  const at::Device device = device_of(model);
  int64_t samples = 0;
  bool is_first = true;
  while (const std::optional<CalibrationBatch> batch = source()) {
    for (const model::NamedQuantizer& item : quantizers)
      if (item.quantizer->calibrator() && !is_weight_quantizer(item.name))
        item.quantizer->calibrator()->set_counting(batch->samples > 0);
    with_memory_for("calibration", device, batch->inputs,
                    [&] { return model.forward(to_device(batch->inputs, device)); });
    if (std::exchange(is_first, false))
      for (const model::NamedQuantizer& item : quantizers)
        if (is_weight_quantizer(item.name)) item.quantizer->disable_calib();
    samples += batch->samples;
    const int64_t everybodys = samples * (group ? group->size() : 1);
    if (progress) progress("calibrating", std::min(everybodys, expected_samples), expected_samples);
  }
  for (quant::Calibrator* calibrator : calibrators) {
    calibrator->join();
    calibrator->set_peers(nullptr);
    calibrator->set_counting(true);
  }
  if (group) {
    const at::Tensor sum = at::full({1}, samples, at::kLong);
    group->sum(sum);
    samples = sum.item<int64_t>();
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
      request.only_positive = true;
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
      try {
        quantizer.load_calib_amax(by_maximum ? quant::AmaxRequest{} : request);
      } catch (const InputError& error) {
        const std::string said = error.what();
        if (said.find(item.name) != std::string::npos) throw;
        fail("[calibration] {}: {}", item.name, said);
      }
      quantizer.enable_quant();
      quantizer.disable_calib();
    } else {
      quantizer.enable();
    }
  }
}

int64_t calibrate(model::PreTrainedModel& model, const BatchSource& source, int64_t expected_samples,
                  const QuantOptions& options, const ProgressSink& progress, ProcessGroup* group) {
  options.validate();
  const int64_t samples = collect_statistics(model, source, expected_samples, progress, group);
  load_ranges(model, options.calibrator, options.percentile);
  if (options.clip_gelu && *options.clip_gelu > 0) clip_gelu(model, *options.clip_gelu);
  return samples;
}

}  // namespace qdqbert::train
