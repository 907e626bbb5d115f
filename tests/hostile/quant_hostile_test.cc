// Calibration data and descriptions of quantizers that cannot be used: one sentence each, nothing collected.
#include <limits>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/calibrate_weights.h"
#include "qdqbert/quant/descriptor.h"
#include "qdqbert/quant/histogram_calibrator.h"
#include "qdqbert/quant/max_calibrator.h"

namespace qdqbert::quant {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class Run>
void expect_one_sentence(const Run& run) {
  try {
    run();
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.front(), '[') << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_LT(text.size(), 300u) << text;
  }
}

TEST(Hostile, CalibrationDataThatIsNotFinite) {
  for (const float bad : {kNan, kInfinity, -kInfinity})
    for (const size_t at : {size_t{0}, size_t{33}, size_t{100}}) {
      std::vector<float> x(101, 0.5f);
      x[at] = bad;
      HistogramCalibrator histogram(8, std::nullopt, false);
      MaxCalibrator max(8, std::nullopt, false);
      for (Calibrator* calibrator : {static_cast<Calibrator*>(&histogram), static_cast<Calibrator*>(&max)}) {
        calibrator->set_non_finite(NonFinite::kRefuse);
        expect_one_sentence([&] { calibrator->collect(x, {101}); });
      }
      EXPECT_TRUE(histogram.histogram().empty());
      EXPECT_FALSE(max.compute_amax());
      expect_one_sentence([&] { calibrate_weight(x, {101}, std::nullopt, {}); });
      expect_one_sentence([&] { calibrate_weight(x, {101, 1}, 0, {WeightMethod::kMax, 99, 64, 8, false}); });
    }
}

TEST(Hostile, EmptyAndMisshapenData) {
  const std::vector<float> x(6, 1);
  HistogramCalibrator histogram(8, std::nullopt, false);
  MaxCalibrator max(8, std::nullopt, false);
  expect_one_sentence([&] { histogram.collect({}, {0}); });
  expect_one_sentence([&] { max.collect({}, {0, 4}); });
  expect_one_sentence([&] { max.collect(x, {2, 4}); });
  expect_one_sentence([&] { max.collect(x, {-2, -3}); });
  expect_one_sentence([&] { calibrate_weight(x, {2, 3}, 2, {}); });
  expect_one_sentence([&] { calibrate_weight(x, {7}, 0, {}); });
}

TEST(Hostile, RangesOfAllSizes) {
  HistogramCalibrator calibrator(8, std::nullopt, false);
  calibrator.collect(std::vector<float>{0, 1e-45f}, {2});
  // Bins of a few denormals: either usable or refused, never an endless loop or a huge allocation.
  for (const float value : {1e-30f, 1.0f, 3e38f}) {
    try {
      calibrator.collect({&value, 1}, {1});
    } catch (const InputError&) {
    }
    EXPECT_LE(calibrator.histogram().counts.size(), 8u * 2048u);
  }
}

TEST(Hostile, Descriptors) {
  for (const char* text : {"[]", "8", R"({"num_bits": 1e400})", R"({"num_bits": "8"})", R"({"num_bits": -1})",
                           R"({"axis": {"tuple": 3}})", R"({"axis": [0.5]})", R"({"amax": {"ndarray": "x"}})",
                           R"({"amax": [[1], [1, 2]]})", R"({"amax": [1, [2]]})", R"({"amax": [[1], 2]})",
                           R"({"amax": null, "x": 1})", R"({"unsigned": 1})", R"({"scale_amax": "2"})"})
    expect_one_sentence([&] { QuantDescriptor::from_json(parse_json(text, "descriptor")); });
}

}  // namespace
}  // namespace qdqbert::quant
