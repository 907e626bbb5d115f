#include <algorithm>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/clip.h"
#include "qdqbert/quant/fake_quant.h"
#include "qdqbert/quant/reduce_amax.h"

#include "tests/quant/golden_tensors.h"
#include "tests/support/golden.h"

namespace qdqbert::quant {
namespace {

using testing::golden_dir;
using testing::GoldenFamily;

QuantParams params_of(const Json& golden) {
  return {golden.at("num_bits").get<int>(), golden.at("unsigned").get<bool>(),
          golden.at("narrow_range").get<bool>(), Arithmetic::kToolkit};
}

/// One function of the toolkit: fake (y) or not (q and scale), in float32 through the span functions and in
/// every type through the typed ones.
void run_case(const io::SafetensorsFile& file, const Json& golden, bool fake) {
  const std::string name = golden.at("name");
  const QuantParams params = params_of(golden);
  const TypedValues x = read_typed(file, name + ".x", golden.at("x_dtype"));
  const TypedValues amax = read_typed(file, name + ".amax", golden.at("amax_dtype"));
  const bool all_float32 = x.dtype == DType::kF32 && amax.dtype == DType::kF32;
  const std::vector<float> x32(x.values.begin(), x.values.end());
  const FloatArray amax32{amax.shape, {amax.values.begin(), amax.values.end()}};
  const AmaxView view = broadcast_amax(amax32, x.shape);
  std::vector<float> y32(x32.size()), scale32(view.channels);

  if (golden.contains("exception")) {
    if (fake) {
      EXPECT_THROW(fake_quant(x, amax, params), InputError);
      if (all_float32) {
        EXPECT_THROW(fake_quant(x32, view, params, y32), InputError);
      }
    } else {
      EXPECT_THROW(tensor_quant(x, amax, params), InputError);
      if (all_float32) {
        EXPECT_THROW(tensor_quant(x32, view, params, y32, scale32), InputError);
      }
    }
    return;
  }

  TypedValues ours;
  if (fake) {
    ours = fake_quant(x, amax, params);
    if (all_float32) fake_quant(x32, view, params, y32);
  } else {
    const TypedQuantized quantized = tensor_quant(x, amax, params);
    ours = quantized.q;
    EXPECT_EQ(first_difference(quantized.scale.values, read_doubles(file.at(name + ".scale"))), "")
        << "scale";
    EXPECT_EQ(quantized.scale.shape, file.at(name + ".scale").shape);
    if (all_float32) {
      tensor_quant(x32, view, params, y32, scale32);
      const FloatArray reference = read_array(file, name + ".scale");
      EXPECT_EQ(first_difference(scale32, broadcast_amax(reference, x.shape).values), "") << "scale of spans";
    }
  }
  const std::string out = fake ? ".y" : ".q";
  EXPECT_EQ(name_of(ours.dtype), name_of(dtype_of(golden.at("out_dtype"))));
  EXPECT_EQ(first_difference(ours.values, read_doubles(file.at(name + out))), "");
  if (all_float32) {
    EXPECT_EQ(first_difference(y32, to_float32(file.at(name + out))), "") << "spans";
  }

  if (!file.find(name + ".grad_x")) return;
  const std::vector<double> w = read_doubles(file.at(name + ".w"));
  const std::vector<double> grad = read_doubles(file.at(name + ".grad_x"));
  const std::vector<bool> mask = gradient_mask(x, amax);
  std::vector<double> typed(w.size());
  for (size_t i = 0; i < w.size(); ++i) typed[i] = mask[i] ? w[i] : 0;
  EXPECT_EQ(first_difference(typed, grad), "") << "gradient";
  if (all_float32) {
    const std::vector<float> w32(w.begin(), w.end());
    std::vector<float> grad32(w.size());
    fake_quant_backward(x32, view, params, w32, grad32);
    EXPECT_EQ(first_difference(grad32, to_float32(file.at(name + ".grad_x"))), "") << "gradient of spans";
  }
}

void run_family(const std::string& family_name, bool fake) {
  const auto file = io::SafetensorsFile::open(golden_dir() / "quant" / (family_name + ".safetensors"));
  const Json golden = read_json(golden_dir() / "quant" / (family_name + ".json"));
  GoldenFamily family(family_name);
  for (const Json& item : golden.at("cases"))
    family.run(item.at("name"), [&] { run_case(file, item, fake); });
}

TEST(Golden, FakeTensorQuant) {
  run_family("fake_tensor_quant", true);
}
TEST(Golden, TensorQuant) {
  run_family("tensor_quant", false);
}

void run_clip(const io::SafetensorsFile& file, const Json& golden) {
  const std::string name = "clip." + golden.at("name").get<std::string>();
  const FloatArray x = read_array(file, name + ".x"), w = read_array(file, name + ".w");
  const FloatArray low = read_array(file, name + ".min"), high = read_array(file, name + ".max");
  std::vector<float> y(x.values.size()), grad(x.values.size());
  clip(x.values, x.shape, low, high, y);
  EXPECT_EQ(first_difference(y, to_float32(file.at(name + ".y"))), "");
  if (golden.contains("backward_exception")) {
    EXPECT_THROW(clip_backward(x.values, low, high, w.values, grad), InputError);
    return;
  }
  const BoundGradients bounds = clip_backward(x.values, low, high, w.values, grad);
  EXPECT_EQ(first_difference(grad, to_float32(file.at(name + ".grad_x"))), "");
  // The reference sums in float32: n terms lose at most n * 2^-24 of the sum of their magnitudes.
  double magnitude = 0;
  for (const float value : w.values) magnitude += std::fabs(value);
  const double bound = static_cast<double>(w.values.size()) * 0x1p-24 * magnitude;
  EXPECT_NEAR(bounds.low, to_float32(file.at(name + ".grad_min")).at(0), bound);
  EXPECT_NEAR(bounds.high, to_float32(file.at(name + ".grad_max")).at(0), bound);
}

void run_reduce_amax(const io::SafetensorsFile& file, const Json& golden) {
  const std::string name = golden.at("name");
  const FloatArray x = read_array(file, golden.value("input", std::string("reduce_amax.x")));
  std::optional<ReduceAxes> axes;
  const Json& axis = golden.at("axis");
  if (axis.is_number()) axes = ReduceAxes{{axis.get<int>()}, true, false};
  if (axis.is_array())
    axes = ReduceAxes{axis.get<std::vector<int>>(), false, golden.at("axis_type") == "tuple"};
  const bool keepdims = golden.at("keepdims").get<bool>();
  if (golden.contains("exception")) {
    EXPECT_THROW(reduce_amax(x.values, x.shape, axes, keepdims), InputError);
    return;
  }
  const FloatArray ours = reduce_amax(x.values, x.shape, axes, keepdims);
  EXPECT_EQ(ours.shape, golden.at("shape").get<Shape>());
  EXPECT_EQ(first_difference(ours.values, to_float32(file.at(name + ".y"))), "");
}

void run_affine(const io::SafetensorsFile& file, const Json& golden) {
  const std::string name = "affine." + golden.at("name").get<std::string>();
  const FloatArray x = read_array(file, name + ".x"), w = read_array(file, name + ".w");
  const float low = to_float32(file.at(name + ".min")).at(0), high = to_float32(file.at(name + ".max")).at(0);
  std::vector<float> y(x.values.size()), grad(x.values.size());
  fake_affine(x.values, low, high, golden.at("num_bits").get<int>(), y);
  EXPECT_EQ(first_difference(y, to_float32(file.at(name + ".y"))), "");
  fake_affine_backward(x.values, low, high, w.values, grad);
  EXPECT_EQ(first_difference(grad, to_float32(file.at(name + ".grad_x"))), "");
}

TEST(Golden, ClipAmaxAffine) {
  const auto file = io::SafetensorsFile::open(golden_dir() / "quant/clip_amax_affine.safetensors");
  const Json golden = read_json(golden_dir() / "quant/clip_amax_affine.json");
  GoldenFamily family("clip_amax_affine");
  for (const Json& item : golden.at("clip")) family.run(item.at("name"), [&] { run_clip(file, item); });
  for (const Json& item : golden.at("reduce_amax"))
    family.run(item.at("name"), [&] { run_reduce_amax(file, item); });
  for (const Json& item : golden.at("fake_affine_tensor_quant"))
    family.run(item.at("name"), [&] { run_affine(file, item); });
  for (const Json& item : golden.at("clip_module"))
    family.run(item.at("name"),
               [&] { throw testing::GoldenSkip{"clip_module: Python types of module arguments"}; });
}

}  // namespace
}  // namespace qdqbert::quant
