#include "tests/model/range_judge.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "qdqbert/quant/histogram_calibrator.h"

#include "tests/model/first_flip.h"
#include "tests/model/model_case.h"

namespace qdqbert::testing {
namespace {

using Batches = std::vector<std::vector<float>>;

/// Keeps the values that it is given.
class Recorder final : public quant::Calibrator {
 public:
  explicit Recorder(Batches& batches) : Calibrator(8, {}, false), batches_(batches) {}
  void collect(std::span<const float> x, const Shape&) override { batches_.emplace_back(x.begin(), x.end()); }
  std::optional<quant::FloatArray> compute_amax(const quant::AmaxRequest&) override { return {}; }
  void reset() override { batches_.clear(); }
  void join() override {}
  std::unique_ptr<Calibrator> clone() const override { return std::make_unique<Recorder>(batches_); }
  std::string class_name() const override { return "Recorder"; }
  std::string to_string() const override { return class_name(); }

 private:
  Batches& batches_;
};

/// What the quantizer at `index` sees while the case is calibrated in `type`: float64 on the CPU, whatever
/// device is tested.
Batches seen_by(size_t index, at::ScalarType type, const Calibration& calibration) {
  Batches batches;
  const at::Device device = type == at::kDouble ? at::Device(at::kCPU) : test_device();
  const auto model = calibration.make(device);
  if (type == at::kDouble) model->to(type);
  const std::vector<model::NamedQuantizer> quantizers = model->named_quantizers();
  for (const model::NamedQuantizer& item : quantizers) item.quantizer->disable_quant();
  quantizers.at(index).quantizer->set_calibrator(std::make_unique<Recorder>(batches));
  quantizers.at(index).quantizer->enable_calib();
  const at::NoGradGuard no_grad;
  for (int batch = 0;; ++batch) {
    const model::ModelInputs inputs = inputs_of(calibration.inputs, fmt::format("calib{}.", batch));
    if (!inputs.input_ids.defined() && !inputs.inputs_embeds.defined()) return batches;
    model->forward(moved(inputs, device, type));
  }
}

class RangeJudge {
 public:
  RangeJudge(const quant::HistogramCalibrator& like, size_t index, const Calibration& calibration)
      : like_(like),
        request_(calibration.request),
        exact_(seen_by(index, at::kDouble, calibration)),
        ours_(seen_by(index, at::kFloat, calibration)) {
    for (const std::vector<float>& batch : exact_) size_ += batch.size();
  }

  /// Empty when rounding explains that float32 has another range than `recorded`.
  std::string verdict(const std::string& name, double recorded, double tolerance) const {
    if (exact_.size() != ours_.size()) return "the two runs saw different numbers of batches";
    double largest = 0, error = 0;
    for (size_t b = 0; b < exact_.size(); ++b)
      for (size_t i = 0; i < exact_[b].size(); ++i) {
        largest = std::max<double>(largest, std::abs(exact_[b][i]));
        error = std::max<double>(error, std::abs(exact_[b][i] - ours_[b][i]));
      }
    if (error > 1e-5 * largest)
      return fmt::format("values differ from float64's by {}, which is no rounding of {}", error, largest);
    const auto agrees = [&](size_t from_ours) {
      return std::abs(range_with(from_ours) - recorded) <= tolerance;
    };
    if (!agrees(0))
      return fmt::format("float64 does not have the recorded range, either, but {}", range_with(0));
    if (agrees(size_)) return "the range is another one when it is collected again";
    size_t agreeing = 0, departed = size_;
    while (departed - agreeing > 1) {
      const size_t middle = agreeing + (departed - agreeing) / 2;
      (agrees(middle) ? agreeing : departed) = middle;
    }
    print_flip(name, agreeing, recorded);
    return {};
  }

 private:
  /// The range when the first `from_ours` values are float32's and the others float64's.
  double range_with(size_t from_ours) const {
    const auto histogram = collected(from_ours, exact_.size());
    return histogram->compute_amax(request_)->values.at(0);
  }

  std::unique_ptr<quant::Calibrator> collected(size_t from_ours, size_t batches) const {
    std::unique_ptr<quant::Calibrator> histogram = like_.clone();
    histogram->reset();
    size_t begin = 0;
    for (size_t b = 0; b < batches; ++b) {
      std::vector<float> values = exact_[b];
      const size_t replaced = std::min(values.size(), from_ours - std::min(from_ours, begin));
      std::copy_n(ours_[b].begin(), replaced, values.begin());
      histogram->collect(values, {static_cast<int64_t>(values.size())});
      begin += values.size();
    }
    return histogram;
  }

  void print_flip(const std::string& name, size_t flip, double recorded) const {
    size_t batch = 0, element = flip;
    while (element >= exact_[batch].size()) element -= exact_[batch++].size();
    const double exact = std::abs(exact_[batch][element]), ours = std::abs(ours_[batch][element]);
    // The edges that the batch meets, which the first batch makes itself; a larger value continues them at
    // their distance. Sums in float32 count those that are added, so the tie lies within their roundings of
    // the edge and not always between the two values.
    const auto before = collected(flip, std::max<size_t>(batch, 1));
    const auto& edges = dynamic_cast<const quant::HistogramCalibrator&>(*before).histogram().edges;
    const double width = edges[1] - edges[0];
    const double edge = edges[0] + std::round((exact - edges[0]) / width) * width;
    fmt::print(
        "[first flip] {}: element {} of batch {} is {:.9g} in float64, {:.9g} in float32 (error {:.2g}), "
        "{:.2g} from "
        "the edge {:.9g}; range {:.9g} with float64's value, {:.9g} with float32's, {:.9g} recorded\n",
        name, element, batch, exact, ours, std::abs(exact - ours), std::abs(exact - edge), edge,
        range_with(flip), range_with(flip + 1), recorded);
  }

  const quant::HistogramCalibrator& like_;
  const quant::AmaxRequest request_;
  const Batches exact_, ours_;
  size_t size_ = 0;
};

}  // namespace

void expect_ranges(const model::PreTrainedModel& ours, const model::PreTrainedModel& collected,
                   const io::SafetensorsFile& recorded, const Calibration& calibration) {
  const std::vector<model::NamedQuantizer> quantizers = ours.named_quantizers(),
                                           sources = collected.named_quantizers();
  ASSERT_EQ(quantizers.size(), sources.size());
  for (size_t i = 0; i < quantizers.size(); ++i) {
    const std::string& name = quantizers[i].name;
    const TensorView* view = recorded.find(name + "._amax");
    if (!view) continue;
    const at::Tensor reference = tensor_of(*view), range = quantizers[i].quantizer->amax();
    const auto* histogram = dynamic_cast<quant::HistogramCalibrator*>(sources[i].quantizer->calibrator());
    if (!histogram) {
      EXPECT_EQ(difference(range, reference, 1e-5 * reference.max().item<double>()), "") << name;
      continue;
    }
    const auto& edges = histogram->histogram().edges;
    const double tolerance = 1.001 * (edges.at(1) - edges.at(0));
    const std::string off = difference(range, reference, tolerance);
    if (off.empty()) continue;
    EXPECT_EQ(RangeJudge(*histogram, i, calibration).verdict(name, reference.item<double>(), tolerance), "")
        << name << ": " << off;
  }
}

}  // namespace qdqbert::testing
