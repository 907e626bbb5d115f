#include <gtest/gtest.h>

#include "qdqbert/nn/linear.h"
#include "qdqbert/nn/state_dict.h"

#include "tests/nn/torch_golden.h"
#include "tests/support/golden.h"

namespace qdqbert::nn {
namespace {

using testing::descriptor_of;
using testing::difference;
using testing::golden_dir;
using testing::GoldenFamily;
using testing::GoldenSkip;
using testing::placed;
using testing::tensor_of;

quant::Arithmetic arithmetic_of(bool fb) {
  return fb ? quant::Arithmetic::kAffine : quant::Arithmetic::kToolkit;
}

QuantizerFlags flags_of(const Json& ctor) {
  QuantizerFlags flags;
  for (const auto& [key, value] : ctor.items()) {
    bool& flag = key == "disabled"   ? flags.disabled
                 : key == "if_quant" ? flags.if_quant
                 : key == "if_clip"  ? flags.if_clip
                                     : flags.if_calib;
    flag = value.get<bool>();
  }
  return flags;
}

template <class Forward>
bool refuses_or_gives_nan(const Forward& forward) {
  try {
    return forward().isnan().any().template item<bool>();
  } catch (const std::exception&) {
    return true;
  }
}

/// `reference` with `ours` where the record is LibTorch's own: what its fake-quantization operators, which
/// compute the affine arithmetic on other devices than the CPU, make of NaN, infinities and values of more
/// than 2^31 steps depends on its version (golden README, "do not chase").
at::Tensor comparable(const at::Tensor& reference, const at::Tensor& ours, const at::Tensor& x,
                      const TensorQuantizer& quantizer, const QuantCall& call) {
  if (x.device().is_cpu() || call.arithmetic != quant::Arithmetic::kAffine || !quantizer.has_amax())
    return reference;
  const at::Tensor steps = (x.detach() * (quantizer.max_bound() / quantizer.amax())).cpu().to(at::kDouble);
  return at::where(steps.abs() < 0x1p31, reference, ours.detach().cpu());
}

void run_quantizer_case(const io::SafetensorsFile& file, const Json& golden) {
  const std::string name = golden.at("name");
  const at::Tensor x =
      placed(file.at(name + ".x")).to(testing::scalar_type_of(golden.at("x_dtype"))).requires_grad_(true);
  const QuantCall call{arithmetic_of(golden.at("use_fb_fake_quant"))};
  const auto build = [&] {
    TensorQuantizer quantizer(descriptor_of(golden.at("descriptor"), golden.value("axis_is_tuple", false)),
                              flags_of(golden.at("ctor")));
    // Bounds that were set by hand show in the state.
    if (Clip* clip = quantizer.clip_module()) {
      const at::NoGradGuard no_grad;
      clip->clip_value_min.copy_(tensor_of(file.at(name + ".state.clip.clip_value_min")));
      clip->clip_value_max.copy_(tensor_of(file.at(name + ".state.clip.clip_value_max")));
    }
    if (golden.value("note", "").find("disable_clip()") != std::string::npos) quantizer.disable_clip();
    testing::move_to(quantizer, testing::test_device());
    return quantizer;
  };
  if (golden.contains("exception")) {
    // The library's own refusals are InputErrors; types that PyTorch's operators lack are refused by them.
    // What would need a look at values becomes NaN on a device, which is not waited for.
    const auto forward = [&] { return build().forward(x, call); };
    if (x.device().is_cpu()) {
      EXPECT_ANY_THROW(forward());
    } else {
      EXPECT_TRUE(refuses_or_gives_nan(forward));
    }
    return;
  }
  TensorQuantizer quantizer = build();
  const at::Tensor dynamic = file.find(name + ".dynamic_amax") ? quantizer.amax_for(x) : at::Tensor();
  const at::Tensor y = quantizer.forward(x, call);
  const auto expected = [&](const at::Tensor& ours) {
    return comparable(tensor_of(file.at(name + ".y")), ours, x, quantizer, call);
  };
  EXPECT_EQ(difference(y, expected(y)), "");
  if (golden.contains("out_dtype")) {
    EXPECT_EQ(y.scalar_type(), testing::scalar_type_of(golden.at("out_dtype")));
  }
  if (dynamic.defined()) {
    EXPECT_EQ(difference(dynamic, tensor_of(file.at(name + ".dynamic_amax"))), "") << "dynamic amax";
  }
  if (file.find(name + ".scale")) {
    EXPECT_EQ(difference(quantizer.scale(), tensor_of(file.at(name + ".scale"))), "") << "scale";
  }
  if (file.find(name + ".grad_x")) {
    (y * placed(file.at(name + ".w")).to(y.scalar_type())).sum().backward();
    EXPECT_EQ(difference(x.grad(), tensor_of(file.at(name + ".grad_x"))), "") << "gradient";
  }
  for (const NamedTensor& item : state_dict(quantizer)) {
    EXPECT_TRUE(golden.at("state_dict_keys").contains(item.name)) << item.name;
    EXPECT_EQ(difference(item.tensor, tensor_of(file.at(name + ".state." + item.name))), "") << item.name;
    if (const TensorView* gradient = file.find(name + ".grad." + item.name)) {
      EXPECT_EQ(difference(item.tensor.grad(), tensor_of(*gradient), 1e-5), "")
          << "gradient of " << item.name;
    }
  }
  EXPECT_EQ(state_dict(quantizer).size(), golden.at("state_dict_keys").size());
  // Scales of several channels are printed by Python as tensor objects, which have no counterpart here.
  const std::string text = golden.at("repr");
  if (text.find("tensor(") == std::string::npos) {
    EXPECT_EQ(quantizer.to_string(), text);
  }

  // Without gradients the fast paths run; the result is the same, and the input
  // survives unless it may be overwritten.
  const at::NoGradGuard no_grad;
  TensorQuantizer again = build();
  const at::Tensor copy = x.detach().clone();
  const at::Tensor fast = again.forward(copy, call);
  EXPECT_EQ(difference(fast, expected(fast)), "") << "without gradient";
  EXPECT_EQ(difference(copy, x.detach()), "") << "input changed";
  const at::Tensor in_place = again.forward(copy, {call.arithmetic, true});
  EXPECT_EQ(difference(in_place, expected(in_place)), "") << "in place";
}

TEST(NnGolden, TensorQuantizer) {
  QDQBERT_NEED_TEST_DEVICE();
  GoldenFamily family("tensor_quantizer");
  const Json cases = read_json(golden_dir() / "quant/tensor_quantizer.json");
  const auto file = io::SafetensorsFile::open(golden_dir() / "quant/tensor_quantizer.safetensors");
  for (const Json& golden : cases.at("cases")) {
    family.run(golden.at("name"), [&] { run_quantizer_case(file, golden); });
  }
}

// "TensorQuantizer(6bit fake axis=(0,) amax=dynamic ...)": what the cases say about a module's descriptors.
quant::QuantDescriptor descriptor_from_text(const std::string& text) {
  quant::QuantDescriptor descriptor;
  const size_t bits = text.find("bit"), axis = text.find("axis=");
  const size_t start = text.find_last_of("( ", bits);
  descriptor.num_bits = std::stoi(text.substr(start + 1, bits - start - 1));
  descriptor.is_unsigned = text.find("(unsigned ") != std::string::npos;
  descriptor.narrow_range = text.find(" narrow ") != std::string::npos;
  if (axis == std::string::npos) return descriptor;
  const bool tuple = text[axis + 5] == '(';
  descriptor.axis = quant::Axis::of(std::stoi(text.substr(axis + (tuple ? 6 : 5))));
  if (tuple) descriptor.axis->form = quant::Axis::Form::kTuple;
  return descriptor;
}

void run_linear_case(const io::SafetensorsFile& file, const Json& golden) {
  const std::string name = golden.at("name");
  const at::Tensor weight = tensor_of(file.at(name + ".param.weight"));
  const TensorView* bias = file.find(name + ".param.bias");
  const Json& texts = golden.at("quantizers");
  for (const bool fb : {false, true}) {
    const std::string prefix = fb ? ".fb_" : ".";
    QuantLinear linear(weight.size(1), weight.size(0), bias != nullptr,
                       {descriptor_from_text(texts.at("_input_quantizer")),
                        descriptor_from_text(texts.at("_weight_quantizer"))});
    std::vector<NamedTensor> state = {{"weight", weight}};
    if (bias) state.push_back({"bias", tensor_of(*bias)});
    for (const io::NamedTensor& item : file.tensors()) {
      const std::string buffers = name + ".buffer.";
      if (item.name.starts_with(buffers)) {
        state.push_back({item.name.substr(buffers.size()), tensor_of(item.tensor)});
      }
    }
    load_state(linear, state);
    testing::move_to(linear, testing::test_device());
    // The operands are equal to the bit; a sum of K products may be taken in any order.
    const at::Tensor reference = tensor_of(file.at(name + prefix + "y0"));
    const double largest =
        tensor_of(file.at(name + ".x")).abs().max().item<double>() * weight.abs().max().item<double>();
    const double count = static_cast<double>(weight.size(1));
    const double tolerance = count * (count * largest + 1) / (1 << 24);
    const auto check = [&](const at::Tensor& y) {
      EXPECT_EQ(difference(y, reference, tolerance), "") << prefix;
    };
    const at::Tensor x = placed(file.at(name + ".x")).requires_grad_(true);
    const QuantCall call{arithmetic_of(fb)};
    const at::Tensor y = linear.forward(x, call);
    check(y);
    (y * placed(file.at(name + ".w0"))).sum().backward();
    EXPECT_EQ(difference(x.grad(), tensor_of(file.at(name + prefix + "grad_x")), 1e-5), "") << prefix;
    for (const NamedTensor& item : state_dict(linear)) {
      const TensorView* gradient = file.find(name + prefix + "grad." + item.name);
      if (gradient) {
        EXPECT_EQ(difference(item.tensor.grad(), tensor_of(*gradient), 1e-5), "") << item.name;
      }
    }
    EXPECT_EQ(linear.input_quantizer().to_string(), texts.at("_input_quantizer").get<std::string>());
    EXPECT_EQ(linear.weight_quantizer().to_string(), texts.at("_weight_quantizer").get<std::string>());

    const at::NoGradGuard no_grad;
    linear.eval();
    for (int repetition = 0; repetition < 2; ++repetition) check(linear.forward(x.detach(), call));
  }
}

TEST(NnGolden, Modules) {
  QDQBERT_NEED_TEST_DEVICE();
  GoldenFamily family("modules");
  const Json cases = read_json(golden_dir() / "quant/modules.json");
  const auto file = io::SafetensorsFile::open(golden_dir() / "quant/modules.safetensors");
  for (const Json& golden : cases.at("cases")) {
    family.run(golden.at("name"), [&] {
      const std::string class_name = golden.at("class");
      if (class_name != "QuantLinear") throw GoldenSkip{class_name};
      run_linear_case(file, golden);
    });
  }
}

quant::AmaxRequest request_of(const Json& arguments) {
  quant::AmaxRequest request;
  if (!arguments[0].is_null())
    request.method = quant::parse_histogram_method(arguments[0].get<std::string>());
  request.percentile = arguments[1].value("percentile", request.percentile);
  request.stride = arguments[1].value("stride", request.stride);
  request.start_bin = arguments[1].value("start_bin", request.start_bin);
  return request;
}

TEST(NnGolden, QuantizerFlow) {
  QDQBERT_NEED_TEST_DEVICE();
  GoldenFamily family("quantizer_flow");
  const Json cases = read_json(golden_dir() / "calibration/quantizer_flow.json");
  const auto file = io::SafetensorsFile::open(golden_dir() / "calibration/quantizer_flow.safetensors");
  for (const Json& golden : cases.at("cases")) {
    const std::string name = golden.at("name");
    family.run(name, [&] {
      TensorQuantizer quantizer(descriptor_of(golden.at("descriptor"), true));
      quantizer.disable_quant();
      quantizer.enable_calib();
      for (int batch = 0; const TensorView* view = file.find(name + ".batch" + std::to_string(batch));
           ++batch) {
        const at::Tensor x = placed(*view);
        EXPECT_TRUE(quantizer.forward(x).is_same(x));
      }
      quantizer.load_calib_amax(request_of(golden.at("load_calib_amax")));
      quantizer.disable_calib();
      quantizer.enable_quant();
      EXPECT_EQ(difference(quantizer.amax(), tensor_of(file.at(name + ".amax"))), "");
      EXPECT_EQ(quantizer.to_string(), golden.at("repr").get<std::string>());
      const at::Tensor y = tensor_of(file.at(name + ".y"));
      EXPECT_EQ(difference(quantizer.forward(placed(file.at(name + ".x"))), y), "");
    });
  }
}

}  // namespace
}  // namespace qdqbert::nn
