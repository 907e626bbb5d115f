#include "qdqbert/quant/fake_quant.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/clip.h"
#include "qdqbert/quant/reduce_amax.h"

namespace qdqbert::quant {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> quantized(std::vector<float> x, float amax, const QuantParams& params) {
  fake_quant(x, AmaxView::per_tensor(amax, x.size()), params, x);
  return x;
}

// Written down by hand from the rules: scale exactly 1.
TEST(FakeQuant, UnitScale) {
  const std::vector<float> x = {-200, -127.6f, -127.5f, -127.4f, -0.5f, 0.5f,
                                1.5f, 2.5f,    126.5f,  127.5f,  300};
  EXPECT_EQ(quantized(x, 127, {8, false, true, Arithmetic::kToolkit}),
            (std::vector<float>{-127, -127, -127, -127, 0, 0, 2, 2, 126, 127, 127}));
  EXPECT_EQ(quantized(x, 127, {8, false, false, Arithmetic::kToolkit}),
            (std::vector<float>{-128, -128, -128, -127, 0, 0, 2, 2, 126, 127, 127}));
  std::vector<float> grad(x.size(), 1);
  fake_quant_backward(x, AmaxView::per_tensor(127, x.size()), {}, grad, grad);
  EXPECT_EQ(grad, (std::vector<float>{0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0}));
}

TEST(FakeQuant, KnownVectors) {
  const QuantParams full{8, false, false, Arithmetic::kToolkit};
  EXPECT_EQ(quantized({0.1f, -0.1f, 0.35f, 0.7f, 1.0f, -1.0f, 0.0027559f, 0.00275591f}, 0.7f, full),
            (std::vector<float>{0.09921259433031082f, -0.09921259433031082f, 0.35275590419769287f,
                                0.699999988079071f, 0.699999988079071f, -0.7055118083953857f, 0,
                                0.005511811003088951f}));
  EXPECT_EQ(quantized({1e6f}, 7.415105819702148f, full), (std::vector<float>{7.415106296539307f}));
  // The two arithmetics fall on different sides of this near-tie.
  const float amax = 2.2121779918670654f, x = -2.0815374851226807f;
  EXPECT_EQ(std::nearbyint(quantized({x}, amax, full)[0] * 127 / amax), -119);
  EXPECT_EQ(std::nearbyint(quantized({x}, amax, {8, false, false, Arithmetic::kAffine})[0] * 127 / amax),
            -120);
}

TEST(FakeQuant, ZeroTinyAndOddRanges) {
  const std::vector<float> x = {-1, 0, 1e-9f, 3};
  EXPECT_EQ(quantized(x, 0, {}), (std::vector<float>(4, 0)));
  EXPECT_EQ(quantized(x, 0x1p-24f, {}), (std::vector<float>(4, 0)));
  EXPECT_EQ(quantized({1}, std::nextafter(0x1p-24f, 1.0f), {})[0], std::nextafter(0x1p-24f, 1.0f));
  for (const float value : quantized(x, kNan, {})) EXPECT_TRUE(std::isnan(value));
  for (const float value : quantized(x, kInfinity, {})) EXPECT_TRUE(std::isnan(value));
  EXPECT_TRUE(std::isnan(quantized({kNan}, 1, {})[0]));
  EXPECT_EQ(quantized({kInfinity, -kInfinity}, 127, {}), (std::vector<float>{127, -128}));
}

TEST(FakeQuant, AffineOverflow) {
  const QuantParams affine{8, false, false, Arithmetic::kAffine},
      saturating{8, false, false, Arithmetic::kAffineSaturating};
  const std::vector<float> x = {kInfinity, -kInfinity, kNan, 1e30f, -1e30f, 200};
  EXPECT_EQ(quantized(x, 127, affine), (std::vector<float>{-128, -128, -128, -128, -128, 127}));
  EXPECT_EQ(quantized(x, 127, saturating), (std::vector<float>{127, -128, -128, 127, -128, 127}));
  std::vector<float> grad(4, 1);
  fake_quant_backward(std::vector<float>{127.4f, 127.6f, -128.4f, -128.6f}, AmaxView::per_tensor(127, 4),
                      affine, grad, grad);
  EXPECT_EQ(grad, (std::vector<float>{1, 0, 1, 0}));
}

TEST(FakeQuant, Refusals) {
  std::vector<float> y(2);
  const AmaxView one = AmaxView::per_tensor(1, 2);
  const QuantParams is_unsigned{8, true, false, Arithmetic::kToolkit};
  EXPECT_THROW(fake_quant(std::vector<float>{1, 2}, AmaxView::per_tensor(-1, 2), {}, y), InputError);
  EXPECT_THROW(fake_quant(std::vector<float>{1, -2}, one, is_unsigned, y), InputError);
  EXPECT_NO_THROW(fake_quant(std::vector<float>{kNan, -2}, one, is_unsigned, y));
  EXPECT_NO_THROW(fake_quant(std::vector<float>{1, -0.0f}, one, is_unsigned, y));
  EXPECT_THROW(fake_quant(std::vector<float>{1, 2, 3}, one, {}, y), InputError);
  EXPECT_THROW(broadcast_amax({{3}, {1, 2, 3}}, {2, 4}), InputError);
  EXPECT_THROW(broadcast_amax({{2, 1, 4}, std::vector<float>(8)}, {1, 4}), InputError);
  EXPECT_THROW(affine_amax({{2, 3}, std::vector<float>(6)}, {2, 3}), InputError);
  EXPECT_THROW(affine_amax({{4}, std::vector<float>(4)}, {2, 4}), InputError);
}

/// Every layout against an index computed the slow way.
TEST(FakeQuant, BroadcastLayouts) {
  const Shape x = {2, 3, 4, 5};
  const size_t count = 120;
  for (int kept = 0; kept < 16; ++kept) {
    FloatArray amax{x, {}};
    for (size_t d = 0; d < 4; ++d)
      if (!(kept >> d & 1)) amax.shape[d] = 1;
    for (int64_t i = 0; i < element_count(amax.shape); ++i) amax.values.push_back(1 + static_cast<float>(i));
    const AmaxView view = broadcast_amax(amax, x);
    ASSERT_EQ(view.count(), count);
    size_t at = 0;
    for (int64_t a = 0; a < 2; ++a)
      for (int64_t b = 0; b < 3; ++b)
        for (int64_t c = 0; c < 4; ++c)
          for (int64_t d = 0; d < 5; ++d, ++at) {
            const int64_t index[] = {a, b, c, d};
            int64_t flat = 0;
            for (size_t k = 0; k < 4; ++k) flat = flat * amax.shape[k] + (amax.shape[k] == 1 ? 0 : index[k]);
            ASSERT_EQ(view.values[at / view.inner % view.channels], amax.values[static_cast<size_t>(flat)])
                << kept;
          }
  }
  EXPECT_EQ(broadcast_amax({{1, 1, 1}, {2}}, {5}).channels, 1u);
  EXPECT_EQ(affine_amax({{3}, {1, 2, 3}}, {3, 2}).inner, 2u);
}

TEST(FakeQuant, ThreadsDoNotChangeBits) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(300 * 4001), one(x.size()), many(x.size());
  for (float& value : x) value = normal(random);
  const FloatArray amax = amax_of_kept_axes(x, {300, 4001}, {0});
  const AmaxView view = broadcast_amax(amax, {300, 4001});
  fake_quant(x, view, {}, one, 1);
  fake_quant(x, view, {}, many, 3);
  EXPECT_EQ(one, many);
  fake_quant_backward(x, view, {}, x, one, 1);
  fake_quant_backward(x, view, {}, x, many, 3);
  EXPECT_EQ(one, many);
  EXPECT_EQ(abs_max(x, 1), abs_max(x, 3));
}

TEST(TensorQuant, CodesAndScale) {
  std::vector<float> q(3), scale(1);
  tensor_quant(std::vector<float>{-2, 0.5f, 1}, AmaxView::per_tensor(1, 3),
               {8, false, true, Arithmetic::kToolkit}, q, scale);
  EXPECT_EQ(q, (std::vector<float>{-127, 64, 127}));
  EXPECT_EQ(scale, (std::vector<float>{127}));
  tensor_quant(std::vector<float>{-2, 0.5f, 1}, AmaxView::per_tensor(0, 3), {}, q, scale);
  EXPECT_EQ(q, (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(scale, (std::vector<float>{1}));
}

TEST(ReduceAmax, FindsNanAndInfinity) {
  std::vector<float> x(1000, -1);
  EXPECT_TRUE(all_finite(x));
  for (const float bad : {kNan, kInfinity, -kInfinity})
    for (const size_t at : {size_t{0}, size_t{17}, size_t{999}}) {
      x[at] = bad;
      EXPECT_FALSE(all_finite(x));
      EXPECT_EQ(std::isnan(abs_max(x)), std::isnan(bad));
      x[at] = -1;
    }
  EXPECT_EQ(abs_max({}), 0);
  EXPECT_THROW(reduce_amax({}, {0}, std::nullopt), InputError);
  EXPECT_THROW(reduce_amax(x, {10}, std::nullopt), InputError);
}

TEST(Clip, NanAndBounds) {
  std::vector<float> y(4);
  clip(std::vector<float>{kNan, -5, 0.25f, 5}, {4}, FloatArray::scalar(-1), FloatArray::scalar(1), y);
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ((std::vector<float>(y.begin() + 1, y.end())), (std::vector<float>{-1, 0.25f, 1}));
  std::vector<float> grad(4);
  const BoundGradients bounds =
      clip_backward(std::vector<float>{kNan, -1, 0.25f, 5}, FloatArray::scalar(-1), FloatArray::scalar(1),
                    std::vector<float>{1, 10, 100, 1000}, grad);
  EXPECT_EQ(grad, (std::vector<float>{0, 0, 100, 0}));
  EXPECT_EQ(bounds.low, 11);
  EXPECT_EQ(bounds.high, 1001);
}

}  // namespace
}  // namespace qdqbert::quant
