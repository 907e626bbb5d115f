#include <cmath>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/nn/layer_registry.h"
#include "qdqbert/nn/optim_helper.h"
#include "qdqbert/nn/shared_input.h"
#include "qdqbert/nn/state_dict.h"

#include "tests/nn/torch_golden.h"

namespace qdqbert::nn {
namespace {

using testing::difference;

quant::QuantDescriptor with_amax(double amax) {
  quant::QuantDescriptor descriptor;
  descriptor.amax = quant::FloatArray::scalar(static_cast<float>(amax));
  return descriptor;
}

at::Tensor sample(std::vector<int64_t> shape, uint64_t seed = 7) {
  at::manual_seed(seed);
  return at::randn(shape);
}

TEST(FakeQuantize, KnownValuesOfBothArithmetics) {
  const at::Tensor x =
      at::tensor({-200.0F, -127.6F, -127.5F, -127.4F, 0.5F, 1.5F, 2.5F, 126.5F, 127.5F, 300.0F});
  const at::Tensor amax = at::scalar_tensor(127.0F);
  const at::Tensor full =
      at::tensor({-128.0F, -128.0F, -128.0F, -127.0F, 0.0F, 2.0F, 2.0F, 126.0F, 127.0F, 127.0F});
  EXPECT_EQ(difference(fake_quantize(x, amax, {8, false, false}), full), "");
  EXPECT_EQ(difference(fake_quantize(x, amax, {8, false, false, quant::Arithmetic::kAffine}), full), "");
  EXPECT_EQ(difference(fake_quantize(x, amax, {8, false, true}), full.clamp(-127, 127)), "");
}

TEST(FakeQuantize, GradientPassesInsideTheRangeOnly) {
  at::Tensor x = sample({64, 33}).requires_grad_(true);
  const at::Tensor amax = at::scalar_tensor(0.8F), w = sample({64, 33}, 8);
  (fake_quantize(x, amax, {}) * w).sum().backward();
  EXPECT_EQ(difference(x.grad(), at::where(x.detach().abs() <= amax, w, at::zeros({}))), "");
}

TEST(FakeQuantize, LayoutsThreadsAndChannelsAgreeWithTheDefinition) {
  const at::Tensor x = sample({40, 60, 50});
  const auto reference = [](const at::Tensor& values, const at::Tensor& amax) {
    const at::Tensor scale = 127.0F / amax;
    return (values * scale).round().clamp(-128, 127) / scale;
  };
  const at::Tensor scalar = at::scalar_tensor(2.5F), rows = at::rand({40, 1, 1}) + 0.5;
  for (const at::Tensor& amax : {scalar, rows}) {
    EXPECT_EQ(difference(fake_quantize(x, amax, {}), reference(x, amax)), "");
  }
  const at::Tensor transposed = x.transpose(0, 2);
  EXPECT_EQ(difference(fake_quantize(transposed, scalar, {}, true), reference(transposed, scalar)), "");
}

TEST(FakeQuantize, RefusesNegativeRangesAndNegativeUnsignedInput) {
  EXPECT_THROW(fake_quantize(at::ones({3}), at::scalar_tensor(-1.0F), {}), InputError);
  EXPECT_THROW(fake_quantize(-at::ones({3}), at::scalar_tensor(1.0F), {8, true}), InputError);
  EXPECT_THROW(tensor_quantize(at::ones({3}).to(at::kHalf), at::scalar_tensor(1e-4F), {}), InputError);
}

TEST(FakeQuantize, WritesOverItsInputOnlyWhenAllowed) {
  const at::Tensor x = sample({1000}), kept = x.clone();
  fake_quantize(x, at::scalar_tensor(1.0F), {});
  EXPECT_EQ(difference(x, kept), "");
  const at::Tensor y = fake_quantize(x, at::scalar_tensor(1.0F), {}, /*may_overwrite=*/true);
  EXPECT_EQ(y.data_ptr(), x.data_ptr());
}

TEST(TensorQuantizer, DynamicRangeFollowsTheInput) {
  quant::QuantDescriptor descriptor;
  descriptor.axis = quant::Axis::tuple({0});
  TensorQuantizer quantizer(descriptor);
  const at::Tensor x = sample({5, 9});
  EXPECT_EQ(difference(quantizer.amax_for(x), x.abs().amax({1}, true)), "");
  EXPECT_EQ(difference(quantizer.amax_for(x * 2), x.abs().amax({1}, true) * 2), "");
  EXPECT_FALSE(quantizer.has_amax());
}

TEST(TensorQuantizer, ScaleAmaxMultipliesTheRangeAtUseOnly) {
  quant::QuantDescriptor descriptor = with_amax(0.5);
  descriptor.scale_amax = 0.9;
  TensorQuantizer quantizer(descriptor);
  const at::Tensor x = sample({100});
  const at::Tensor expected = fake_quantize(x, at::scalar_tensor(0.5F) * 0.9, {});
  EXPECT_EQ(difference(quantizer.forward(x), expected), "");
  EXPECT_EQ(difference(quantizer.forward(x), expected), "");
  EXPECT_EQ(quantizer.amax().item<float>(), 0.5F);
}

TEST(TensorQuantizer, RangeSetterKeepsShapeAndType) {
  TensorQuantizer quantizer;
  quantizer.set_amax(0.5);
  quantizer.set_amax(0.25);
  EXPECT_EQ(quantizer.amax().item<float>(), 0.25F);
  EXPECT_THROW(quantizer.set_amax(at::ones({2})), InputError);
  EXPECT_THROW(quantizer.set_amax(at::ones({1})), InputError);
  quantizer.set_amax(at::Tensor());
  EXPECT_EQ(quantizer.amax().item<float>(), 0.25F);
  quantizer.set_amax(0.577);
  EXPECT_NEAR(quantizer.step_size().item<double>(), 0.004543307237327099, 1e-9);
  quantizer.replace_amax(at::ones({4, 1}));
  EXPECT_EQ(quantizer.amax().dim(), 2);
  quantizer.replace_amax({});
  EXPECT_FALSE(quantizer.has_amax());
  EXPECT_TRUE(state_dict(quantizer).empty());
}

TEST(TensorQuantizer, StateRoundTripCreatesRanges) {
  quant::QuantDescriptor descriptor;
  descriptor.amax = quant::FloatArray{{2, 1}, {3.142F, 2.718F}};
  const TensorQuantizer source(descriptor);
  TensorQuantizer fresh;
  load_state(fresh, state_dict(source));
  EXPECT_EQ(difference(fresh.amax(), source.amax()), "");
  EXPECT_NE(fresh.amax().data_ptr(), source.amax().data_ptr());
  EXPECT_THROW(load_state(fresh, {}), InputError);
  EXPECT_THROW(load_state(fresh, {{"_amax", at::ones({3, 1})}}), InputError);
  EXPECT_THROW(load_state(fresh, {{"_amax", at::ones({2, 1})}, {"other", at::ones({1})}}), InputError);
}

TEST(TensorQuantizer, CalibrationErrorsNameTheQuantizer) {
  TensorQuantizer quantizer;
  quantizer.set_label("layer.3.query._input_quantizer");
  EXPECT_THROW(quantizer.load_calib_amax(), InputError);
  quantizer.enable_calib();
  quantizer.calibrator()->set_non_finite(quant::NonFinite::kRefuse);
  try {
    quantizer.forward(at::tensor({1.0F, NAN}));
    FAIL() << "NaN was accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("[layer.3.query._input_quantizer]"), std::string::npos)
        << error.what();
  }
  quantizer.load_calib_amax({}, /*strict=*/false);
  EXPECT_TRUE(std::isnan(quantizer.amax().item<float>()));
}

TEST(TensorQuantizer, CalibratedRangeFillsOrRefusesAnExistingOne) {
  TensorQuantizer scalar;
  scalar.replace_amax(at::ones({3, 1}));
  scalar.enable_calib();
  scalar.forward(at::full({3, 4}, 5.0F));
  scalar.load_calib_amax();
  EXPECT_EQ(difference(scalar.amax(), at::full({3, 1}, 5.0F)), "");

  quant::QuantDescriptor rows;
  rows.axis = quant::Axis::of(0);
  TensorQuantizer per_row(rows);
  per_row.set_amax(1.0);
  per_row.enable_calib();
  per_row.forward(at::full({3, 4}, 5.0F));
  EXPECT_THROW(per_row.load_calib_amax(), InputError);
}

TEST(TensorQuantizer, WithoutCalibratorNothingIsCollected) {
  quant::QuantDescriptor descriptor;
  descriptor.calib_method = quant::CalibMethod::kOther;
  TensorQuantizer quantizer(descriptor);
  EXPECT_THROW(quantizer.enable_calib(), UsageError);
  EXPECT_THROW(quantizer.load_calib_amax(), UsageError);
  EXPECT_EQ(quantizer.to_string(), "TensorQuantizer(8bit fake per-tensor amax=dynamic scale=1.0 quant)");
}

TEST(TensorQuantizer, LearnedRangeStartsAtTheLargest) {
  quant::QuantDescriptor descriptor;
  descriptor.learn_amax = true;
  TensorQuantizer quantizer(descriptor);
  EXPECT_THROW(quantizer.init_learn_amax(), InputError);
  quantizer.set_amax(at::tensor({0.5F, 2.0F, 1.0F}));
  quantizer.init_learn_amax();
  EXPECT_EQ(quantizer.clip_module()->clip_value_min.item<float>(), -2.0F);
  EXPECT_EQ(quantizer.clip_module()->clip_value_max.item<float>(), 2.0F);
  TensorQuantizer plain;
  EXPECT_THROW(plain.enable_clip(), InputError);
  EXPECT_THROW(plain.disable_clip(), InputError);
  EXPECT_THROW(plain.init_learn_amax(), InputError);
}

TEST(QuantLinear, IsTheFloatLayerOnQuantizedOperands) {
  QuantLinear layer(12, 7, true, {});
  const at::NoGradGuard no_grad;
  layer.weight.copy_(sample({7, 12}, 1));
  layer.bias.copy_(sample({7}, 2));
  layer.eval();
  const at::Tensor x = sample({2, 3, 5, 12}, 3);
  const auto expected = [&] {
    const at::Tensor rows = layer.weight.abs().amax({1}, true);
    return at::linear(fake_quantize(x, x.abs().max(), {}), fake_quantize(layer.weight, rows, {}), layer.bias);
  };
  EXPECT_EQ(difference(layer.forward(x), expected(), 1e-5), "");
  // The kept weight follows writes to the weight, the range and the parameters.
  layer.weight.mul_(3);
  EXPECT_EQ(difference(layer.forward(x), expected(), 1e-5), "") << "weight changed";
  layer.weight_quantizer().set_amax(at::full({7, 1}, 0.5F));
  const at::Tensor clipped = layer.forward(x);
  EXPECT_NE(difference(clipped, expected(), 1e-3), "") << "range changed";
  layer.weight_quantizer().amax().mul_(2);
  EXPECT_NE(difference(layer.forward(x), clipped, 1e-3), "") << "range changed in place";
  layer.weight_quantizer().disable();
  EXPECT_EQ(difference(layer.forward(x),
                       at::linear(fake_quantize(x, x.abs().max(), {}), layer.weight, layer.bias), 1e-4),
            "");
}

TEST(QuantLinear, RefusesRealQuantization) {
  quant::QuantDescriptor real;
  real.fake_quant = false;
  EXPECT_THROW(QuantLinear(2, 2, true, {real, {}}), InputError);
}

TEST(SharedInput, ComputesEqualRangesOnce) {
  const at::NoGradGuard no_grad;
  TensorQuantizer a(with_amax(1.5)), b(with_amax(1.5)), c(with_amax(1.25)), dynamic, also_dynamic;
  SharedInput x(sample({50}));
  const auto call = [&](TensorQuantizer& quantizer) {
    return x.quantize(quantizer, quant::Arithmetic::kToolkit);
  };
  EXPECT_TRUE(call(a).is_same(call(b)));
  EXPECT_FALSE(call(a).is_same(call(c)));
  EXPECT_TRUE(call(dynamic).is_same(call(also_dynamic)));
  EXPECT_EQ(difference(call(c), c.forward(x.tensor())), "");
  EXPECT_FALSE(call(a).is_same(x.quantize(a, quant::Arithmetic::kAffine)));
  b.disable();
  EXPECT_TRUE(call(b).is_same(x.tensor()));
}

TEST(LayerRegistry, MakesDefaultsSkipsAndCustomLayers) {
  const LinearOptions size{4, 3, true};
  const auto is_quantized = [](const std::shared_ptr<Linear>& layer) {
    return std::dynamic_pointer_cast<QuantLinear>(layer) != nullptr;
  };
  EXPECT_FALSE(is_quantized(LayerRegistry::floating().make("Linear", size)));
  EXPECT_TRUE(is_quantized(LayerRegistry::quantized().make("Linear", size)));
  EXPECT_FALSE(is_quantized(LayerRegistry::quantized({"Linear"}).make("Linear", size)));
  const LayerRegistry::Factory narrow = [](const LinearOptions& options, const QuantDefaults& defaults) {
    auto layer =
        std::make_shared<QuantLinear>(options.in_features, options.out_features, options.has_bias, defaults);
    layer->weight_quantizer().set_narrow_range(true);
    return layer;
  };
  const auto custom = LayerRegistry::quantized({"Linear"}, {{"Linear", narrow}}).make("Linear", size);
  EXPECT_TRUE(std::dynamic_pointer_cast<QuantLinear>(custom)->weight_quantizer().narrow_range());
  EXPECT_THROW(LayerRegistry::quantized({"Conv9d"}), InputError);
  EXPECT_THROW(LayerRegistry::quantized().make("LSTM", size), InputError);
}

TEST(OptimHelper, MatchesGroupsAndFreezes) {
  torch::nn::Module model("Model");
  model.register_module("conv1", std::make_shared<QuantLinear>(2, 2, true, QuantDefaults{}));
  model.register_module("down", std::make_shared<Linear>(2, 2));
  EXPECT_EQ(match_parameters(model, {"conv1"}).size(), 2U);
  EXPECT_EQ(match_parameters(model, {"weight$", "down"}).size(), 4U) << "once per matching pattern";
  EXPECT_EQ(match_parameters(model, {"wei$"}).size(), 0U);
  EXPECT_THROW(match_parameters(model, {"("}), InputError);
  const auto groups = group_parameters(model, {{"conv1"}, {"down"}}, {0.1, 0.2}, {}, {0.0, 0.01});
  EXPECT_EQ(groups[1].parameters.size(), 2U);
  EXPECT_EQ(groups[1].lr, 0.2);
  EXPECT_EQ(groups[0].momentum, std::nullopt);
  EXPECT_EQ(groups[1].weight_decay, 0.01);
  EXPECT_THROW(group_parameters(model, {{"conv1"}}, {0.1, 0.2}), InputError);
  freeze_parameters(model, {"down"});
  for (const auto& item : model.named_parameters()) {
    EXPECT_EQ(item.value().requires_grad(), item.key().find("down") == std::string::npos) << item.key();
  }
}

TEST(OptimHelper, QuantizesWeightsInPlace) {
  torch::nn::Module model("Model");
  const auto layer =
      model.register_module("layer", std::make_shared<QuantLinear>(6, 4, true, QuantDefaults{}));
  const at::NoGradGuard no_grad;
  layer->weight.copy_(sample({4, 6}));
  const at::Tensor expected = layer->quantized_weight().clone();
  quant_weight_inplace(model);
  EXPECT_EQ(difference(layer->weight, expected), "");
  EXPECT_FALSE(layer->weight_quantizer().disabled());
}

}  // namespace
}  // namespace qdqbert::nn
