// Setters, loaders and printed forms of the quantizer. The file describes each operation by its name, so this
// table says what the names stand for; results come from the file.
#include <gtest/gtest.h>

#include "qdqbert/nn/linear.h"
#include "qdqbert/nn/state_dict.h"

#include "tests/nn/torch_golden.h"
#include "tests/support/golden.h"

namespace qdqbert::nn {
namespace {

using testing::golden_dir;
using testing::GoldenFamily;
using testing::GoldenSkip;

Json describe(const at::Tensor& amax) {
  const at::ScalarType type = amax.scalar_type();
  return {type == at::kLong ? "int64" : type == at::kDouble ? "float64" : "float32", amax.sizes().vec()};
}

Json after_setting(const std::vector<at::Tensor>& values, bool with_values) {
  TensorQuantizer quantizer;
  Json result = Json::array();
  for (const at::Tensor& value : values) {
    quantizer.set_amax(value);
    for (const Json& part : describe(quantizer.amax())) result.push_back(part);
  }
  if (with_values) result.push_back({quantizer.amax().item<double>()});
  return result;
}

at::Tensor number(double value) {
  return at::scalar_tensor(value, at::kFloat);
}

quant::QuantDescriptor learned() {
  quant::QuantDescriptor descriptor;
  descriptor.learn_amax = true;
  return descriptor;
}

quant::QuantDescriptor real() {
  quant::QuantDescriptor descriptor;
  descriptor.fake_quant = false;
  return descriptor;
}

quant::QuantDescriptor calibrated_by(quant::CalibMethod method) {
  quant::QuantDescriptor descriptor;
  descriptor.calib_method = method;
  return descriptor;
}

Json step_size(double amax, int bits, bool is_unsigned) {
  TensorQuantizer quantizer;
  if (amax > 0) quantizer.set_amax(amax);
  quantizer.set_num_bits(bits);
  quantizer.set_unsigned(is_unsigned);
  return quantizer.step_size().defined() ? Json(quantizer.step_size().item<double>()) : Json();
}

void load(quant::CalibMethod method, const quant::AmaxRequest& request, bool collected) {
  TensorQuantizer quantizer(calibrated_by(method));
  if (collected) {
    quantizer.enable_calib();
    quantizer.forward(at::arange(1, 100).to(at::kFloat));
  }
  quantizer.load_calib_amax(request);
}

const quant::AmaxRequest kPercentile{quant::HistogramMethod::kPercentile};

// The range after loading what a calibrator with `axis` found into a quantizer that has one of `shape`.
Json load_into(std::vector<int64_t> shape, std::optional<quant::Axis> axis) {
  quant::QuantDescriptor descriptor;
  descriptor.axis = std::move(axis);
  TensorQuantizer quantizer(descriptor);
  quantizer.set_amax(at::ones(shape));
  quantizer.enable_calib();
  quantizer.forward(at::full({3, 4}, 2.0F));
  quantizer.load_calib_amax();
  return quantizer.amax().sizes().vec();
}

void load_state_into(const at::Tensor& stored, const std::vector<NamedTensor>& state) {
  TensorQuantizer quantizer;
  if (stored.defined()) quantizer.set_amax(stored);
  load_state(quantizer, state);
}

const std::map<std::string, std::function<Json()>>& table() {
  static const std::map<std::string, std::function<Json()>> operations = {
      {"amax setter: first 0.5 then 0.25 -> [dtype, shape, dtype, shape, values]",
       [] {
         return after_setting({number(0.5), number(0.25)}, true);
       }},
      {"amax setter: first int 3", [] { return after_setting({at::scalar_tensor(3, at::kLong)}, false); }},
      {"amax setter: int 3 then 2.7",
       [] {
         return after_setting({at::scalar_tensor(3, at::kLong), number(2.7)}, true);
       }},
      {"amax setter: float64 ndarray", [] { return after_setting({at::ones({2}, at::kDouble)}, false); }},
      {"amax setter: float32 ndarray", [] { return after_setting({at::ones({1})}, false); }},
      {"amax setter: scalar then shape [2]",
       [] {
         return after_setting({number(1), at::ones({2})}, false);
       }},
      {"amax setter: shape [2] then scalar",
       [] {
         return after_setting({at::ones({2}), number(1)}, false);
       }},
      {"amax setter: scalar then shape [1]",
       [] {
         return after_setting({number(1), at::ones({1})}, false);
       }},
      {"amax setter: None is ignored",
       [] {
         TensorQuantizer quantizer;
         quantizer.set_amax(at::Tensor());
         return quantizer.has_amax() ? Json(1) : Json();
       }},
      {"step_size amax=0.577", [] { return step_size(0.577, 8, false); }},
      {"step_size amax=0.577 unsigned 4 bit", [] { return step_size(0.577, 4, true); }},
      {"step_size without amax", [] { return step_size(0, 8, false); }},
      {"scale of a fake quantizer", [] { return Json(TensorQuantizer().scale().item<double>()); }},
      {"scale of a real quantizer before use",
       [] { return Json(TensorQuantizer(real()).scale().item<double>()); }},
      {"enable_clip without learn_amax",
       [] {
         TensorQuantizer().enable_clip();
         return Json();
       }},
      {"disable_clip without learn_amax",
       [] {
         TensorQuantizer().disable_clip();
         return Json();
       }},
      {"init_learn_amax without learn_amax",
       [] {
         TensorQuantizer().init_learn_amax();
         return Json();
       }},
      {"init_learn_amax without amax",
       [] {
         TensorQuantizer(learned()).init_learn_amax();
         return Json();
       }},
      {"init_learn_amax with amax [0.5,2,1] -> [min,max]",
       [] {
         TensorQuantizer quantizer(learned());
         quantizer.set_amax(at::tensor({0.5F, 2.0F, 1.0F}));
         quantizer.init_learn_amax();
         return Json{quantizer.clip_module()->clip_value_min.item<double>(),
                     quantizer.clip_module()->clip_value_max.item<double>()};
       }},
      {"load_calib_amax before collecting",
       [] {
         load(quant::CalibMethod::kMax, {}, false);
         return Json();
       }},
      {"load_calib_amax(strict=False) before collecting -> str(quantizer)",
       [] {
         TensorQuantizer quantizer;
         quantizer.load_calib_amax({}, /*strict=*/false);
         return Json(quantizer.to_string());
       }},
      {"load_calib_amax('max') on a max calibrator",
       [] {
         load(quant::CalibMethod::kMax, kPercentile, true);
         return Json();
       }},
      {"load_calib_amax() on a histogram calibrator",
       [] {
         load(quant::CalibMethod::kHistogram, {}, true);
         return Json();
       }},
      {"load_calib_amax('foo') on a histogram calibrator",
       [] { return Json(std::string(name_of(quant::parse_histogram_method("foo")))); }},
      {"load_calib_amax('percentile') with nothing collected",
       [] {
         load(quant::CalibMethod::kHistogram, kPercentile, false);
         return Json();
       }},
      {"calib_method 'entropy' then enable_calib",
       [] {
         TensorQuantizer(calibrated_by(quant::CalibMethod::kOther)).enable_calib();
         return Json();
       }},
      {"calib_method 'entropy' then load_calib_amax",
       [] {
         load(quant::CalibMethod::kOther, {}, false);
         return Json();
       }},
      {"histogram calibrator with axis 0",
       [] {
         quant::QuantDescriptor descriptor = calibrated_by(quant::CalibMethod::kHistogram);
         descriptor.axis = quant::Axis::of(0);
         return Json(TensorQuantizer(descriptor).to_string());
       }},
      {"QuantLinear fake_quant=False input",
       [] {
         QuantLinear(2, 2, true, {real(), {}});
         return Json();
       }},
      {"load state without _amax into a quantizer that has one",
       [] {
         load_state_into(number(1), {});
         return Json();
       }},
      {"load state with _amax of another shape",
       [] {
         load_state_into(number(1), {{"_amax", at::ones({3, 1})}});
         return Json();
       }},
      {"load_calib_amax per-channel result into scalar buffer",
       [] { return load_into({}, quant::Axis::of(0)); }},
      {"load_calib_amax scalar result into [3,1] buffer -> shape",
       [] {
         return load_into({3, 1}, std::nullopt);
       }},
  };
  return operations;
}

TEST(NnOperationsGolden, NamedOperations) {
  GoldenFamily family("quantizer_operations");
  const Json golden = read_json(golden_dir() / "quant/descriptor_and_errors.json");
  for (const Json& item : golden.at("operations")) {
    const std::string name = item.at("name");
    family.run(name, [&] {
      const auto operation = table().find(name);
      if (operation == table().end()) {
        throw GoldenSkip{
            "Python's argument passing, or a limit of the original that docs/differences.md lists as fixed"};
      }
      if (item.at("exception").is_null()) {
        EXPECT_EQ(operation->second(), item.at("result"));
      } else {
        EXPECT_ANY_THROW(operation->second());
      }
    });
  }
}

TEST(NnOperationsGolden, PrintedForms) {
  GoldenFamily family("quantizer_text");
  const Json golden = read_json(golden_dir() / "quant/descriptor_and_errors.json");
  for (const Json& item : golden.at("quantizer_text")) {
    family.run(item.at("text"), [&] {
      QuantizerFlags flags;
      for (const auto& [key, value] : item.at("ctor").items()) {
        if (key == "disabled") flags.disabled = value.get<bool>();
        if (key == "if_quant") flags.if_quant = value.get<bool>();
        if (key == "if_calib") flags.if_calib = value.get<bool>();
        if (key == "if_clip") flags.if_clip = value.get<bool>();
      }
      const TensorQuantizer quantizer(
          testing::descriptor_of(item.at("descriptor"), item.at("axis_is_tuple").get<bool>()), flags);
      EXPECT_EQ(quantizer.to_string(), item.at("text").get<std::string>());
    });
  }
}

}  // namespace
}  // namespace qdqbert::nn
