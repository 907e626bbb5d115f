// calibration/errors.json describes operations by their names only; their data are written out here.
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/histogram_calibrator.h"
#include "qdqbert/quant/max_calibrator.h"

#include "tests/support/golden.h"

namespace qdqbert::quant {
namespace {

using testing::golden_dir;
using testing::GoldenFamily;
using testing::GoldenSkip;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

using Values = std::vector<float>;

Values line(float high, int count) {
  Values values;
  for (int i = 0; i < count; ++i)
    values.push_back(high * static_cast<float>(i) / static_cast<float>(count - 1));
  return values;
}

Values repeated(float value, size_t count) {
  return Values(count, value);
}

Values joined(Values a, const Values& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// 500 values from 0 to 3.
Values base() {
  return line(3, 500);
}

HistogramCalibrator fed(HistogramOptions options, const std::vector<Values>& batches) {
  HistogramCalibrator calibrator(8, std::nullopt, false, options);
  for (const Values& batch : batches) calibrator.collect(batch, {static_cast<int64_t>(batch.size())});
  return calibrator;
}

Json amax_of(HistogramCalibrator calibrator, AmaxRequest request) {
  const auto amax = calibrator.compute_amax(request);
  return amax ? Json(static_cast<double>(amax->values.at(0))) : Json(nullptr);
}

AmaxRequest percentile(double value) {
  return {HistogramMethod::kPercentile, value, 1, 128};
}
AmaxRequest entropy(int stride = 1) {
  return {HistogramMethod::kEntropy, 99.99, stride, 128};
}
AmaxRequest mse() {
  return {HistogramMethod::kMse, 99.99, 1, 128};
}

int64_t total(const HistogramCalibrator& calibrator) {
  const auto& counts = calibrator.histogram().counts;
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

/// [bins, total, first edge, last edge]
Json state(const HistogramCalibrator& calibrator) {
  const Histogram& histogram = calibrator.histogram();
  return {histogram.counts.size(), total(calibrator), histogram.edges.front(), histogram.edges.back()};
}

Json entropy_and_first_bin(HistogramOptions options) {
  options.num_bins = 256;
  HistogramCalibrator calibrator = fed(options, {joined(repeated(0, 1000), line(4, 1024))});
  Json result = {amax_of(calibrator, percentile(10)), calibrator.histogram().counts[0]};
  calibrator.compute_amax(entropy());
  result.push_back(amax_of(calibrator, percentile(10)));
  result.push_back(calibrator.histogram().counts[0]);
  return result;
}

Json grow_and_reset(HistogramOptions options) {
  options.num_bins = 64;
  HistogramCalibrator calibrator = fed(options, {line(1, 100), line(2, 100)});
  Json result = {calibrator.num_bins()};
  calibrator.reset();
  result.push_back(amax_of(calibrator, percentile(99)));
  result.push_back(calibrator.num_bins());
  const Values batch = line(1, 100);
  calibrator.collect(batch, {100});
  result.push_back(calibrator.histogram().counts.size());
  return result;
}

using Operations = std::map<std::string, std::function<Json()>>;

void add_collector(Operations& all, const std::string& prefix, bool torch_hist) {
  HistogramOptions plain;
  plain.torch_hist = torch_hist;
  HistogramOptions skipping = plain;
  skipping.skip_zeros = true;
  const auto with_bins = [plain](int bins) {
    HistogramOptions options = plain;
    options.num_bins = bins;
    return options;
  };
  const auto add = [&](const std::string& name, std::function<Json()> run) {
    all[prefix + ": " + name] = std::move(run);
  };
  add("percentile=-10", [=] { return amax_of(fed(plain, {base()}), percentile(-10)); });
  add("percentile=200", [=] { return amax_of(fed(plain, {base()}), percentile(200)); });
  add("percentile=200 with nothing collected", [=] { return amax_of(fed(plain, {}), percentile(200)); });
  add("percentile=nan", [=] { return amax_of(fed(plain, {base()}), percentile(kNan)); });
  add("nothing collected, percentile", [=] { return amax_of(fed(plain, {}), percentile(99)); });
  add("nothing collected, entropy", [=] { return amax_of(fed(plain, {}), entropy()); });
  add("nothing collected, mse", [=] { return amax_of(fed(plain, {}), mse()); });
  add("unknown method", [=]() -> Json { return name_of(parse_histogram_method("max")); });
  add("NaN in the first batch", [=] { return state(fed(plain, {{1, kNan, 2}})); });
  add("NaN in the second batch -> [bins, total, first, last edge]", [=] {
    return state(fed(plain, {base(), {kNan, 1, 2}}));
  });
  add("NaN hides negative values in the second batch", [=] {
    return state(fed(plain, {base(), {kNan, -1, 2}}));
  });
  add("inf in the first batch", [=] { return state(fed(plain, {{1, kInfinity}})); });
  add("inf in the second batch", [=] { return state(fed(plain, {base(), {1, kInfinity}})); });
  add("-inf in the second batch", [=] { return state(fed(plain, {base(), {1, -kInfinity}})); });
  add("empty batch", [=] { return state(fed(plain, {{}})); });
  add("all zeros first, skip_zeros", [=] { return state(fed(skipping, {{0, 0}})); });
  add("all zeros second, skip_zeros", [=] { return state(fed(skipping, {base(), {0, 0}})); });
  add("all zeros then values", [=] { return state(fed(plain, {{0, 0}, base()})); });
  add("one element", [=] { return state(fed(plain, {{1.5f}})); });
  add("one element, percentile 99.99", [=] { return amax_of(fed(plain, {{1.5f}}), percentile(99.99)); });
  for (const int bins : {100, 128, 129}) {
    const std::string text = std::to_string(bins) + " bins";
    const std::string suffix = bins < 128 ? " (< start_bin)" : bins == 128 ? " (= start_bin)" : "";
    add("entropy with " + text + suffix, [=] { return amax_of(fed(with_bins(bins), {base()}), entropy()); });
    add("mse with " + text + suffix, [=] { return amax_of(fed(with_bins(bins), {base()}), mse()); });
  }
  add("num_bins=0", [=] { return state(fed(with_bins(0), {base()})); });
  add("entropy stride=0", [=] { return amax_of(fed(plain, {base()}), entropy(0)); });
  add("entropy changes bin 0: [percentile 10, bin0, percentile 10 after entropy, bin0 after entropy]",
      [=] { return entropy_and_first_bin(plain); });
  add("num_bins 64, grow to twice the range, reset: "
      "[num_bins, amax after reset, num_bins, bins of a new first batch]",
      [=] { return grow_and_reset(plain); });
}

Operations operations() {
  Operations all;
  add_collector(all, "numpy", false);
  add_collector(all, "torch", true);
  HistogramOptions torch_hist;
  torch_hist.torch_hist = true;
  const auto upstream = [=] {
    return fed(torch_hist, {joined({0}, repeated(255, 5)), joined(joined({0}, repeated(255, 4)), {256})});
  };
  const std::string growth = "upstream growth example";
  all[growth + ": {0,255x5} then {0,255x4,256}: [bins, edges, sum, last edges]"] = [=]() -> Json {
    const HistogramCalibrator calibrator = upstream();
    const Histogram& histogram = calibrator.histogram();
    return {histogram.counts.size(), histogram.edges.size(), total(calibrator), histogram.edges.back(),
            amax_of(calibrator, mse())};
  };
  // That test of the toolkit looks at every eighth bin.
  all[growth + " entropy"] = [=] { return amax_of(upstream(), entropy(8)); };
  for (const char* p : {"0", "50", "80", "90", "99", "99.99", "100"})
    all[std::string("x=0..99, 2048 bins, percentile ") + p] = [p] {
      return amax_of(fed({}, {line(99, 100)}), percentile(std::stod(p)));
    };
  all["axis=0"] = []() -> Json { return HistogramCalibrator(8, Axis::of(0), false).to_string(); };
  all["max calibrator: empty batch"] = []() -> Json {
    MaxCalibrator calibrator(8, std::nullopt, false);
    calibrator.collect({}, {0});
    return nullptr;
  };
  all["max calibrator: nothing collected"] = []() -> Json {
    return MaxCalibrator(8, std::nullopt, false).compute_amax() ? Json(1) : Json(nullptr);
  };
  all["max calibrator: amaxs without track_amax"] = []() -> Json {
    return MaxCalibrator(8, std::nullopt, false).tracked().size();
  };
  all["max calibrator: compute_amax('max')"] = []() -> Json {
    MaxCalibrator(8, std::nullopt, false).compute_amax(percentile(99));
    return nullptr;
  };
  return all;
}

/// Results as in the file: numbers compare as numbers.
void expect_same(const Json& ours, const Json& reference) {
  if (reference.is_array()) {
    ASSERT_EQ(ours.size(), reference.size()) << ours.dump();
    for (size_t i = 0; i < ours.size(); ++i) expect_same(ours[i], reference[i]);
  } else if (reference.is_number()) {
    EXPECT_EQ(ours.get<double>(), reference.get<double>());
  } else {
    EXPECT_EQ(ours, reference);
  }
}

TEST(Golden, CalibrationErrors) {
  const Json golden = read_json(golden_dir() / "calibration/errors.json");
  const Operations known = operations();
  GoldenFamily family("calibration_errors");
  for (const Json& item : golden.at("cases")) {
    const std::string name = item.at("name");
    family.run(name, [&] {
      if (name.find("percentile=None") != std::string::npos || name.starts_with("grow_method"))
        throw GoldenSkip{"a Python type or an argument without effect"};
      const auto found = known.find(name);
      if (found == known.end())
        throw GoldenSkip{"an operation that only its name describes, unknown to this test"};
      if (!item.at("exception").is_null()) {
        EXPECT_THROW(found->second(), Error);
      } else {
        expect_same(found->second(), item.at("result"));
      }
    });
  }
}

}  // namespace
}  // namespace qdqbert::quant
