#include "qdqbert/io/average.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/io/safetensors.h"

#include "tests/support/scratch_directory.h"

namespace qdqbert::io {
namespace {

struct Tensors {
  std::vector<OwnedNamedTensor> items;

  Tensors& add(const std::string& name, const Shape& shape, const std::vector<float>& values) {
    items.push_back({name, make_tensor(shape, std::span(values))});
    return *this;
  }
  Tensors& add(const std::string& name, const std::vector<int64_t>& values) {
    items.push_back({name, make_tensor({static_cast<int64_t>(values.size())}, std::span(values))});
    return *this;
  }
};

class AverageTest : public ::testing::Test {
 protected:
  Checkpoint checkpoint(const Tensors& tensors, SaveDType dtype = SaveDType::kFloat32) {
    const auto directory = scratch_ / std::to_string(++count_);
    std::vector<NamedTensor> views;
    for (const OwnedNamedTensor& item : tensors.items) views.push_back({item.name, item.tensor.view()});
    save_checkpoint(directory, views, {}, {dtype});
    return Checkpoint::open(directory);
  }
  std::string refusal(const Tensors& a, const Tensors& b) {
    try {
      average(std::vector{checkpoint(a), checkpoint(b)});
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  }

  ScratchDirectory scratch_;
  int count_ = 0;
};

TEST_F(AverageTest, AScalarRangeMayHaveOneElement) {
  const auto a = Tensors().add("x._amax", {1}, {2}), b = Tensors().add("x._amax", {}, {4});
  for (const auto& [first, second] : {std::pair(a, b), std::pair(b, a), std::pair(a, a)}) {
    const auto mean = average(std::vector{checkpoint(first), checkpoint(second)});
    EXPECT_EQ(mean[0].tensor.shape, Shape{});
  }
  EXPECT_THAT(refusal(Tensors().add("x", {1}, {2}), Tensors().add("x", {}, {4})),
              ::testing::HasSubstr("has shape"));
  EXPECT_THAT(refusal(Tensors().add("x", {1}, {NAN}), Tensors().add("x", {1}, {4})),
              ::testing::HasSubstr("no finite numbers"));
}

TEST_F(AverageTest, IsTheMeanOfEachTensorWhateverItsTypeOnDisk) {
  const auto a = Tensors().add("w", {2, 1}, {1, -8}).add("x._amax", {}, {2}).add("ids", {0, 1, 2});
  const auto b = Tensors().add("w", {2, 1}, {2, 4}).add("x._amax", {}, {4}).add("ids", {0, 1, 2});
  const auto c = Tensors().add("w", {2, 1}, {6, 1}).add("x._amax", {}, {3}).add("ids", {0, 1, 2});
  const auto mean = average(std::vector{checkpoint(a), checkpoint(b, SaveDType::kFloat16), checkpoint(c)});
  ASSERT_EQ(mean.size(), 3U);
  for (const OwnedNamedTensor& item : mean) {
    if (item.name == "w") {
      EXPECT_EQ(item.tensor.shape, (Shape{2, 1}));
      EXPECT_EQ(to_float32(item.tensor.view()), (std::vector<float>{3, -1}));
    } else if (item.name == "x._amax") {
      EXPECT_EQ(item.tensor.shape, Shape{});
      EXPECT_EQ(to_float32(item.tensor.view()), std::vector<float>{3});
    } else {
      EXPECT_EQ(to_int64(item.tensor.view()), (std::vector<int64_t>{0, 1, 2}));
    }
  }
}

// Values that a float32 sum would lose.
TEST_F(AverageTest, SumsInFloat64) {
  const auto large = Tensors().add("w", {1}, {0x1p30F}), small = Tensors().add("w", {1}, {3}),
             minus = Tensors().add("w", {1}, {-0x1p30F});
  const auto mean = average(std::vector{checkpoint(large), checkpoint(small), checkpoint(minus)});
  EXPECT_EQ(to_float32(mean[0].tensor.view()), std::vector<float>{1});
}

TEST_F(AverageTest, RefusesWhatIsNotTheSameModel) {
  const auto model = Tensors().add("w", {2}, {1, 2}).add("ids", {0, 1});
  EXPECT_EQ(refusal(model, model), "accepted");
  const auto has = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  has(refusal(model, Tensors().add("w", {2}, {1, 2})), "ids");
  has(refusal(Tensors().add("w", {2}, {1, 2}), model), "ids");
  has(refusal(model, Tensors().add("w", {3}, {1, 2, 3}).add("ids", {0, 1})), "[3]");
  has(refusal(model, Tensors().add("w", {2}, {1, 2}).add("ids", {0, 2})), "integers cannot be averaged");
  has(refusal(model, Tensors().add("w", {1, 2}).add("ids", {0, 1})), "other types of numbers");
  EXPECT_THROW(average(std::vector{checkpoint(model)}), InputError);
}

}  // namespace
}  // namespace qdqbert::io
