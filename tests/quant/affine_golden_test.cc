// The use_fb_fake_quant form in the version-dependent cases: quotients that do not fit an int64. Data and
// options stand in tensor_quantizer, whose other cases belong to nn.
#include <map>

#include <gtest/gtest.h>

#include "qdqbert/quant/descriptor.h"
#include "qdqbert/quant/fake_quant.h"

#include "tests/quant/golden_tensors.h"
#include "tests/support/golden.h"

namespace qdqbert::quant {
namespace {

using testing::golden_dir;
using testing::GoldenFamily;

struct Affine {
  std::vector<float> y, grad_x;
};

Affine run_affine(const io::SafetensorsFile& file, const std::string& name, const Json& descriptor,
                  Arithmetic arithmetic) {
  const FloatArray x = read_array(file, name + ".x"), w = read_array(file, name + ".w");
  const QuantDescriptor desc = QuantDescriptor::from_json(descriptor);
  const FloatArray amax =
      file.find(name + ".state._amax") ? read_array(file, name + ".state._amax") : *desc.amax;
  const QuantParams params{desc.num_bits, desc.is_unsigned, desc.narrow_range, arithmetic};
  const AmaxView view = lay_amax(amax, x.shape, arithmetic);
  Affine result{std::vector<float>(x.values.size()), std::vector<float>(x.values.size())};
  fake_quant(x.values, view, params, result.y);
  fake_quant_backward(x.values, view, params, w.values, result.grad_x);
  return result;
}

TEST(Golden, AffineNewerTorch) {
  const auto file = io::SafetensorsFile::open(golden_dir() / "quant/tensor_quantizer.safetensors");
  const auto newer = io::SafetensorsFile::open(golden_dir() / "quant/fb_newer_torch.safetensors");
  const Json quantizers = read_json(golden_dir() / "quant/tensor_quantizer.json");
  std::map<std::string, Json> cases;
  for (const Json& item : quantizers.at("cases")) cases[item.at("name").get<std::string>()] = item;
  const Json golden = read_json(golden_dir() / "quant/fb_newer_torch.json");
  GoldenFamily family("fb_newer_torch");
  for (const Json& item : golden.at("cases")) {
    const std::string name = item.at("name");
    family.run(name, [&] {
      const Json& descriptor = cases.at(name).at("descriptor");
      const Affine older = run_affine(file, name, descriptor, Arithmetic::kAffine);
      EXPECT_EQ(first_difference(older.y, to_float32(file.at(name + ".y"))), "");
      EXPECT_EQ(first_difference(older.grad_x, to_float32(file.at(name + ".grad_x"))), "");
      const Affine ours = run_affine(file, name, descriptor, Arithmetic::kAffineSaturating);
      EXPECT_EQ(first_difference(ours.y, to_float32(newer.at(name + ".y"))), "");
      EXPECT_EQ(first_difference(ours.grad_x, to_float32(newer.at(name + ".grad_x"))), "");
    });
  }
}

}  // namespace
}  // namespace qdqbert::quant
