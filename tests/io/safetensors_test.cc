#include "qdqbert/io/safetensors.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"

#include "tests/support/scratch_directory.h"

namespace qdqbert::io {
namespace {

namespace fs = std::filesystem;

TEST(SafetensorsTest, FindsTensorsByName) {
  const ScratchDirectory scratch;
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const OwnedTensor matrix = make_tensor({2, 3}, values);
  const OwnedTensor scalar = make_tensor({}, std::span(values).first(1));
  const OwnedTensor empty = make_tensor({0, 3}, std::span<const float>());
  const std::vector<int64_t> ids = {7, -8};
  const OwnedTensor integers = make_tensor({2}, ids);
  const std::vector<NamedTensor> tensors = {{"b", matrix.view()},
                                            {"a \"quoted\" é", scalar.view()},
                                            {"empty", empty.view()},
                                            {"ids", integers.view()}};
  write_safetensors(scratch / "x.safetensors", tensors, {{"format", "pt"}});

  const SafetensorsFile file = SafetensorsFile::open(scratch / "x.safetensors");
  EXPECT_EQ(file.metadata("format"), "pt");
  EXPECT_EQ(file.metadata("other"), "");
  EXPECT_EQ(file.names(), (std::vector<std::string>{"ids", "a \"quoted\" é", "b", "empty"}));
  ASSERT_NE(file.find("b"), nullptr);
  EXPECT_EQ(file.find("b")->shape, (Shape{2, 3}));
  EXPECT_EQ(to_float32(file.at("b")), values);
  EXPECT_EQ(to_int64(file.at("ids")), ids);
  EXPECT_EQ(file.at("empty").count(), 0);
  EXPECT_EQ(file.at("a \"quoted\" é").shape, Shape{});
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_THROW(file.at("c"), InputError);
}

TEST(SafetensorsTest, ViewsOutliveTheFirstObject) {
  const ScratchDirectory scratch;
  const std::vector<float> values(5000, 2.5f);
  const OwnedTensor tensor = make_tensor({5000}, values);
  write_safetensors(scratch / "x", std::vector<NamedTensor>{{"w", tensor.view()}});
  auto copy = std::make_unique<SafetensorsFile>(SafetensorsFile::open(scratch / "x"));
  const SafetensorsFile kept = *copy;
  copy.reset();
  EXPECT_EQ(to_float32(kept.at("w")), values);
}

TEST(SafetensorsTest, RefusesToWriteWhatItCouldNotRead) {
  const ScratchDirectory scratch;
  const std::vector<float> values = {1, 2};
  const OwnedTensor tensor = make_tensor({2}, values);
  const auto write = [&](std::vector<NamedTensor> tensors) { write_safetensors(scratch / "x", tensors); };
  EXPECT_THROW(write({{"a", tensor.view()}, {"a", tensor.view()}}), InputError);
  EXPECT_THROW(write({{"__metadata__", tensor.view()}}), InputError);
  EXPECT_THROW(write({{"a\xff", tensor.view()}}), InputError);
  EXPECT_THROW(write({{"a", {DType::kF32, {3}, tensor.data}}}), InputError);
  EXPECT_FALSE(fs::exists(scratch / "x"));
}

}  // namespace
}  // namespace qdqbert::io
