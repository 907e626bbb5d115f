// The part of descriptor_and_errors.json that is about descriptors;
// setters and printed quantizers belong to nn.
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/descriptor.h"

#include "tests/support/golden.h"

namespace qdqbert::quant {
namespace {

using testing::golden_dir;
using testing::GoldenFamily;
using testing::GoldenSkip;

/// Positional arguments are num_bits and name, the rest is by keyword.
Json arguments_of(const Json& golden) {
  Json arguments = golden.at("kwargs");
  const Json& positional = golden.at("args");
  if (positional.size() > 0) arguments["num_bits"] = positional.at(0);
  if (positional.size() > 1) arguments["name"] = positional.at(1);
  return arguments;
}

void run_case(const Json& golden) {
  const Json arguments = arguments_of(golden);
  if (arguments.contains("num_bits") && arguments.at("num_bits").is_boolean())
    throw GoldenSkip{"a truth value as number of bits: a Python type"};
  if (golden.contains("exception")) {
    EXPECT_THROW(QuantDescriptor::from_json(arguments).validate(), InputError) << arguments.dump();
    return;
  }
  const QuantDescriptor descriptor = QuantDescriptor::from_json(arguments);
  descriptor.validate();
  EXPECT_EQ(descriptor.to_string(), golden.at("str").get<std::string>());
  EXPECT_EQ(descriptor.to_dict(), golden.at("dict"));
  EXPECT_EQ(QuantDescriptor::from_json(descriptor.to_json()), descriptor);

  const Json& yaml = golden.at("yaml");
  if (yaml.is_object()) {
    EXPECT_THROW(descriptor.to_yaml(), InputError);
    return;
  }
  EXPECT_EQ(descriptor.to_yaml(), yaml.get<std::string>());
  // Where the reference cannot compare two arrays we can, and they are equal.
  const Json& equal = golden.at("yaml_round_trip_equal");
  EXPECT_EQ(QuantDescriptor::from_yaml(yaml.get<std::string>()) == descriptor,
            equal.is_object() || equal.get<bool>());
}

TEST(Golden, Descriptor) {
  const Json golden = read_json(golden_dir() / "quant/descriptor_and_errors.json");
  GoldenFamily family("descriptor");
  for (const Json& item : golden.at("descriptors"))
    family.run(arguments_of(item).dump(), [&] { run_case(item); });
}

}  // namespace
}  // namespace qdqbert::quant
