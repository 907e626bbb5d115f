#include "qdqbert/quant/descriptor.h"

#include <limits>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/numpy_text.h"

namespace qdqbert::quant {
namespace {

TEST(Descriptor, EveryFieldSurvivesJson) {
  QuantDescriptor descriptor;
  descriptor.num_bits = 5;
  descriptor.name = "it's: a \"name\"";
  descriptor.fake_quant = false;
  descriptor.axis = Axis::tuple({0, 2});
  descriptor.amax = FloatArray{{2, 1}, {0.1f, 1e-7f}};
  descriptor.scale_amax = 0.5;
  descriptor.is_unsigned = true;
  descriptor.narrow_range = true;
  descriptor.calib_method = CalibMethod::kHistogram;
  descriptor.validate();
  EXPECT_EQ(QuantDescriptor::from_json(descriptor.to_json()), descriptor);
  descriptor.narrow_range = false;
  descriptor.calib_method = CalibMethod::kMax;
  EXPECT_EQ(QuantDescriptor::from_yaml(descriptor.to_yaml()), descriptor) << descriptor.to_yaml();
}

TEST(Descriptor, NamesThatYamlWouldReadAsSomethingElse) {
  for (const char* name : {"", "null", "true", "off", "12", "1.5", "- a", "a: b", "# x", "'", "x'y",
                           "\xc3\xa9", "a\nb", "~", " a "}) {
    QuantDescriptor descriptor;
    descriptor.name = name;
    EXPECT_EQ(QuantDescriptor::from_yaml(descriptor.to_yaml()), descriptor) << descriptor.to_yaml();
  }
}

TEST(Descriptor, YamlFloatsHaveAPoint) {
  QuantDescriptor descriptor;
  descriptor.scale_amax = 1e-5;
  EXPECT_EQ(descriptor.to_yaml(), "name: null\nnum_bits: 8\nscale_amax: 1.0e-05\n");
}

TEST(Descriptor, RefusesBadYaml) {
  for (const char* text :
       {"num_bits", "- 1\n", "num_bits: [1\n", "num_bits: 'x\n", "num_bits: 8\nnum_bits: 8\n", "  a: 1\n",
        "num_bits: eight\n", "nonsense: 1\n", "amax:\n- - 1.0\n- 2.0\n", "amax:\n- x\n", "num_bits: -3\n",
        "num_bits: !!python/tuple\n", "num_bits: 99999999999\n", "axis: 0.5\n"})
    EXPECT_THROW(QuantDescriptor::from_yaml(text), InputError) << text;
  std::string deep = "amax:\n- ";
  for (int i = 0; i < 5000; ++i) deep += "- ";
  EXPECT_THROW(QuantDescriptor::from_yaml(deep + "1.0\n"), InputError);
}

TEST(Descriptor, RefusesInconsistentFields) {
  QuantDescriptor descriptor;
  descriptor.amax = FloatArray{{3}, {1, 2}};
  EXPECT_THROW(descriptor.validate(), InputError);
  descriptor.amax.reset();
  descriptor.learn_amax = true;
  descriptor.axis = Axis::of(0);
  EXPECT_THROW(descriptor.validate(), InputError);
}

TEST(NumpyText, Arrays) {
  const auto text = [](std::vector<float> values) {
    const int64_t size = static_cast<int64_t>(values.size());
    return numpy_text({{size}, std::move(values)});
  };
  EXPECT_EQ(text({1, 2.5f}), "[1.  2.5]");
  EXPECT_EQ(text({0.1f, -20}), "[  0.1 -20. ]");
  EXPECT_EQ(text({1e-5f, 2}), "[1.e-05 2.e+00]");
  EXPECT_EQ(text({0.5f, std::numeric_limits<float>::quiet_NaN()}), "[0.5 nan]");
  EXPECT_EQ(text(std::vector<float>(20, 0.125f)),
            "[0.125 0.125 0.125 0.125 0.125 0.125 0.125 0.125 0.125 0.125 0.125 0.125\n"
            " 0.125 0.125 0.125 0.125 0.125 0.125 0.125 0.125]");
  EXPECT_EQ(numpy_text({{2, 1}, {1, 2}}), "[[1.]\n [2.]]");
  EXPECT_EQ(numpy_text(FloatArray::scalar(0.7f)), "0.699999988079071");
}

}  // namespace
}  // namespace qdqbert::quant
