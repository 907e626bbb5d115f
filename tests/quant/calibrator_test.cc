#include "qdqbert/quant/calibrator.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/quant/histogram_calibrator.h"
#include "qdqbert/quant/max_calibrator.h"
#include "qdqbert/quant/numpy_histogram.h"

namespace qdqbert::quant {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> normal_values(size_t count, uint32_t seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

void feed(Calibrator& calibrator, const std::vector<float>& x) {
  calibrator.collect(x, {static_cast<int64_t>(x.size())});
}

int64_t total(const Histogram& histogram) {
  return std::accumulate(histogram.counts.begin(), histogram.counts.end(), int64_t{0});
}

TEST(HistogramCalibratorTest, ASingleMagnitudeHasARange) {
  for (const float magnitude : {1e-6f, 0.001f, 0.063f, 0.437f, 0.5f, 3.0f, 1000.0f})
    for (const HistogramMethod method :
         {HistogramMethod::kMse, HistogramMethod::kEntropy, HistogramMethod::kPercentile}) {
      HistogramCalibrator calibrator(8, std::nullopt, false);
      feed(calibrator, std::vector<float>(100, -magnitude));
      AmaxRequest request;
      request.method = method;
      request.percentile = 99.9;
      request.only_positive = true;
      const float amax = calibrator.compute_amax(request)->values.at(0);
      EXPECT_GT(amax, 0) << magnitude << " by method " << static_cast<int>(method);
      if (method == HistogramMethod::kMse) {
        EXPECT_NEAR(amax, magnitude, 1.0 / 2048) << "within a bin";
      }
    }
}

TEST(BinCounter, EqualsABinarySearchOnRealNumbers) {
  const uint32_t seed = static_cast<uint32_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  for (int repeat = 0; repeat < 60; ++repeat) {
    // From comfortable bins to ones that are narrower than the spacing of float32.
    const double low = std::ldexp(1.0, static_cast<int>(random() % 12)),
                 width = std::ldexp(low, -static_cast<int>(random() % 30));
    const size_t bins = 1 + random() % 3000;
    std::vector<double> edges;
    for (size_t k = 0; k <= bins; ++k) edges.push_back(low + width * static_cast<double>(k) * 1.0000001);
    std::vector<float> x = {0, -static_cast<float>(low), static_cast<float>(edges.back()), kInfinity};
    std::uniform_real_distribution<double> inside(edges.front() * 0.99, edges.back() * 1.01);
    for (int i = 0; i < 400; ++i) {
      x.push_back(static_cast<float>(inside(random)));
      const float edge = static_cast<float>(edges[random() % edges.size()]);
      for (const float value : {edge, std::nextafter(edge, kInfinity), -std::nextafter(edge, 0.0f)})
        x.push_back(value);
    }
    std::vector<int64_t> expected(bins), ours(bins);
    for (const float value : x) {
      const double m = std::fabs(value);
      if (m < edges.front() || m > edges.back()) continue;
      const auto above = std::upper_bound(edges.begin(), edges.end(), m);
      ++expected[std::min(static_cast<size_t>(above - edges.begin()), bins) - 1];
    }
    BinCounter(edges).count(x, false, ours);
    ASSERT_EQ(ours, expected) << "low " << low << " width " << width << " bins " << bins;
  }
}

TEST(BinCounter, ThreadsShareLargeInputs) {
  const std::vector<float> x = normal_values(1 << 20, 3);
  const Histogram histogram = numpy_histogram(x, 2048);
  EXPECT_EQ(total(histogram), 1 << 20);
  std::vector<int64_t> halves(2048);
  const BinCounter counter(histogram.edges);
  for (size_t at = 0; at < x.size(); at += 1 << 16) counter.count({x.data() + at, 1 << 16}, false, halves);
  EXPECT_EQ(histogram.counts, halves);
}

// A range of a few float32 values: numpy looks at one neighbour only, and so do we.
TEST(NumpyHistogram, BinsNarrowerThanFloat32) {
  const float next = std::nextafter(1.0f, 2.0f);
  const Histogram histogram = numpy_histogram(std::vector<float>{1, 1, next}, 10);
  EXPECT_EQ(histogram.counts, (std::vector<int64_t>{0, 2, 0, 0, 0, 0, 0, 0, 0, 1}));
}

TEST(HistogramCalibrator, GrowsToEightTimesAndThenMergesPairs) {
  std::vector<std::string> warnings;
  const LogSink before = set_log_sink([&](LogLevel level, std::string_view line) {
    if (level == LogLevel::kWarning) warnings.emplace_back(line);
  });
  for (const bool torch_hist : {false, true}) {
    warnings.clear();
    HistogramOptions options;
    // Bins of exact width, so that no growth loses its largest value to rounding as numpy's collector can.
    options.num_bins = 128;
    options.torch_hist = torch_hist;
    HistogramCalibrator calibrator(8, std::nullopt, false, options);
    int64_t fed = 0;
    for (float largest = 1; largest < 7.9f; largest += 0.5f, fed += 2) feed(calibrator, {0, largest});
    EXPECT_TRUE(warnings.empty());
    const size_t grown = calibrator.histogram().counts.size();
    EXPECT_GE(grown, 7u * 128u);
    for (const float largest : {9.0f, 500.0f, 1e6f, 1e30f}) {
      feed(calibrator, {0.25f, largest});
      fed += 2;
      const Histogram& histogram = calibrator.histogram();
      EXPECT_LE(histogram.counts.size(), 8u * 128u);
      EXPECT_GE(histogram.counts.size(), 2u * 128u);
      EXPECT_GE(histogram.edges.back(), largest * 0.9999);
      EXPECT_TRUE(std::is_sorted(histogram.edges.begin(), histogram.edges.end()));
      EXPECT_EQ(total(histogram), fed);
      EXPECT_NEAR(calibrator.compute_amax({HistogramMethod::kPercentile, 100, 1, 128})->values[0], largest,
                  largest / 100);
    }
    EXPECT_EQ(warnings.size(), 1u);
  }
  set_log_sink(before);
}

TEST(HistogramCalibrator, MergingPairsKeepsEveryCountInItsPlace) {
  HistogramOptions options;
  options.num_bins = 64;
  HistogramCalibrator capped(8, std::nullopt, false, options);
  options.max_growth = 0;
  HistogramCalibrator unlimited(8, std::nullopt, false, options);
  for (const float deviation : {0.1f, 1.0f, 5.0f})
    for (HistogramCalibrator* calibrator : {&capped, &unlimited})
      feed(*calibrator, normal_values(5000, static_cast<uint32_t>(deviation * 10), deviation));
  EXPECT_GT(unlimited.histogram().counts.size(), 8u * 64u);
  EXPECT_LE(capped.histogram().counts.size(), 8u * 64u);
  const double width = capped.histogram().edges[1] - capped.histogram().edges[0];
  for (const double percentile : {10.0, 50.0, 90.0, 99.9})
    EXPECT_NEAR(percentile_amax(capped.histogram(), percentile),
                percentile_amax(unlimited.histogram(), percentile), width);
}

TEST(HistogramCalibrator, StateDoesNotGrowWithBatches) {
  HistogramCalibrator calibrator(8, std::nullopt, false);
  const std::vector<float> x = normal_values(4096, 1);
  for (int i = 0; i < 50; ++i) feed(calibrator, x);
  EXPECT_EQ(calibrator.histogram().counts.size(), 2048u);
  EXPECT_EQ(total(calibrator.histogram()), 50 * 4096);
}

// Processes of one calibration, as threads that meet in each call.
class Peers : public CalibrationPeers {
 public:
  struct Room {
    explicit Room(size_t size)
        : barrier(static_cast<std::ptrdiff_t>(size)), extremes(size), counts(size), values(size) {}
    std::barrier<> barrier;
    std::vector<BatchExtremes> extremes;
    std::vector<std::vector<int64_t>> counts;
    std::vector<std::vector<float>> values;
  };
  Peers(Room& room, size_t rank) : room_(room), rank_(rank) {}

  size_t rank() const override { return rank_; }
  std::vector<BatchExtremes> exchange(const BatchExtremes& mine) override {
    room_.extremes[rank_] = mine;
    room_.barrier.arrive_and_wait();
    std::vector<BatchExtremes> all = room_.extremes;
    room_.barrier.arrive_and_wait();
    return all;
  }
  void sum(std::span<int64_t> values) override {
    together(values, room_.counts, [](int64_t& a, int64_t b) { a += b; });
  }
  void maximum(std::span<float> values) override {
    together(values, room_.values, [](float& a, float b) { a = std::max(a, b); });
  }

 private:
  template <class Value, class Join>
  void together(std::span<Value> values, std::vector<std::vector<Value>>& all, Join join) {
    all[rank_].assign(values.begin(), values.end());
    room_.barrier.arrive_and_wait();
    for (size_t rank = 0; rank < all.size(); ++rank) {
      EXPECT_EQ(all[rank].size(), values.size());
      for (size_t i = 0; i < values.size(); ++i)
        if (rank != rank_) join(values[i], all[rank][i]);
    }
    room_.barrier.arrive_and_wait();
  }

  Room& room_;
  size_t rank_;
};

// Batches whose largest values grow, stay, return and lie on edges, so that who counts before whom matters.
std::vector<std::vector<float>> growing_batches(size_t count) {
  std::vector<std::vector<float>> batches;
  for (size_t i = 0; i < count; ++i) {
    batches.push_back(
        normal_values(3000 + 100 * i, static_cast<uint32_t>(i), 0.5f + static_cast<float>(i * 7 % 5)));
    batches.back().push_back(batches[i / 2].front() * 3);
    batches.back().push_back(*std::max_element(batches[0].begin(), batches[0].end()));
  }
  return batches;
}

template <class MakeCalibrator, class Check>
void as_processes(size_t size, size_t batches_count, MakeCalibrator make, Check check) {
  const std::vector<std::vector<float>> batches = growing_batches(batches_count);
  auto alone = make();
  for (const auto& batch : batches) feed(*alone, batch);
  Peers::Room room(size);
  std::vector<decltype(make())> calibrators;
  for (size_t rank = 0; rank < size; ++rank) calibrators.push_back(make());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      Peers peers(room, rank);
      calibrators[rank]->set_peers(&peers);
      for (size_t first = 0; first < batches.size(); first += size) {
        const size_t mine = first + rank;
        calibrators[rank]->set_counting(mine < batches.size());
        feed(*calibrators[rank], mine < batches.size() ? batches[mine] : normal_values(100, 9, 1000));
      }
      calibrators[rank]->join();
      calibrators[rank]->set_peers(nullptr);
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto& calibrator : calibrators) check(*calibrator, *alone);
}

TEST(Calibrators, ProcessesTogetherHoldWhatOneWouldHold) {
  for (const size_t size : {2u, 3u, 5u})
    for (const size_t batches : {1u, 2u, 7u}) {
      SCOPED_TRACE(fmt::format("{} processes, {} batches", size, batches));
      for (const bool torch_hist : {false, true})
        for (const bool skip_zeros : {false, true}) {
          HistogramOptions options;
          options.num_bins = 64;
          options.torch_hist = torch_hist;
          options.skip_zeros = skip_zeros;
          as_processes(
              size, batches,
              [&] { return std::make_unique<HistogramCalibrator>(8, std::nullopt, false, options); },
              [](const HistogramCalibrator& ours, const HistogramCalibrator& alone) {
                EXPECT_EQ(ours.histogram().counts, alone.histogram().counts);
                EXPECT_EQ(ours.histogram().edges, alone.histogram().edges);
              });
        }
      as_processes(
          size, batches, [] { return std::make_unique<MaxCalibrator>(8, std::nullopt, false); },
          [](MaxCalibrator& ours, MaxCalibrator& alone) {
            EXPECT_EQ(ours.compute_amax()->values, alone.compute_amax()->values);
          });
    }
}

TEST(Calibrators, RefuseWhatIsNotFinite) {
  for (const float bad : {kNan, kInfinity, -kInfinity})
    for (const bool torch_hist : {false, true}) {
      HistogramOptions options;
      options.torch_hist = torch_hist;
      HistogramCalibrator histogram(8, std::nullopt, false, options);
      MaxCalibrator max(8, std::nullopt, false);
      for (Calibrator* calibrator : {static_cast<Calibrator*>(&histogram), static_cast<Calibrator*>(&max)}) {
        calibrator->set_non_finite(NonFinite::kRefuse);
        EXPECT_THROW(feed(*calibrator, {1, bad}), InputError);
        feed(*calibrator, {1, -2});
        EXPECT_THROW(feed(*calibrator, {1, bad}), InputError);
      }
      EXPECT_EQ(total(histogram.histogram()), 2);
      EXPECT_EQ(max.compute_amax()->values[0], 2);
    }
}

TEST(MaxCalibrator, SharedRangeFollowsLaterBatches) {
  MaxCalibrator calibrator(8, std::nullopt, false);
  feed(calibrator, {1, -2});
  const auto shared = calibrator.shared_amax();
  const auto copy = calibrator.clone();
  feed(calibrator, {5});
  EXPECT_EQ(shared->values[0], 5);
  EXPECT_EQ(copy->compute_amax()->values[0], 2);
  calibrator.reset();
  feed(calibrator, {1});
  EXPECT_EQ(shared->values[0], 5);
}

TEST(Calibrators, MadeFromDescriptors) {
  QuantDescriptor descriptor;
  EXPECT_EQ(make_calibrator(descriptor)->class_name(), "MaxCalibrator");
  descriptor.calib_method = CalibMethod::kHistogram;
  EXPECT_EQ(make_calibrator(descriptor)->class_name(), "HistogramCalibrator");
  descriptor.axis = Axis::of(0);
  EXPECT_THROW(make_calibrator(descriptor), InputError);
  descriptor.calib_method = CalibMethod::kOther;
  EXPECT_EQ(make_calibrator(descriptor), nullptr);
}

Histogram over_unit_bins(std::vector<int64_t> counts) {
  Histogram histogram{std::move(counts), {}};
  for (size_t k = 0; k <= histogram.counts.size(); ++k) histogram.edges.push_back(static_cast<double>(k));
  return histogram;
}

// Vectors that an independent program computed.
TEST(Entropy, KnownVectors) {
  Histogram small = over_unit_bins({9, 8, 6, 5, 3, 2, 1, 0, 0, 1});
  EXPECT_EQ(entropy_amax(small, 3, false, 1, 4), 7);
  std::vector<int64_t> decay;
  for (int j = 0; j < 2048; ++j)
    decay.push_back(static_cast<int64_t>(std::floor(10000 * std::exp(-j / 150.0))));
  decay.back() += 3;
  for (const auto& [bits, is_unsigned, stride, start, expected] : {std::tuple{8, false, 1, 128, 1382},
                                                                   {8, false, 16, 128, 1376},
                                                                   {8, true, 1, 128, 1382},
                                                                   {4, false, 1, 8, 920}}) {
    Histogram histogram = over_unit_bins(decay);
    EXPECT_EQ(entropy_amax(histogram, bits, is_unsigned, stride, start), expected)
        << bits << " bits, stride " << stride;
    EXPECT_EQ(histogram.counts[0], 9933);
  }
}

// Divergence 0 for every prefix: the largest wins. Nothing kept: NaN, which wins over everything.
TEST(Entropy, TiesAndNan) {
  std::vector<int64_t> counts(512, 0);
  counts[3] = 10;
  Histogram one_bin = over_unit_bins(counts);
  EXPECT_EQ(entropy_amax(one_bin, 8, false, 1, 128), 512);
  // Equal bins: exactly 0 for every prefix that holds them all, which only the term by term form can see.
  for (const int64_t value : {3, 7, 11, 13}) {
    for (ptrdiff_t length = 150; length < 500; length += 50) {
      std::fill(counts.begin(), counts.begin() + length, value);
      Histogram plateau = over_unit_bins(counts);
      EXPECT_EQ(entropy_amax(plateau, 8, false, 1, 128), 512) << length << " bins of " << value;
    }
    std::fill(counts.begin(), counts.end(), 0);
  }
  counts[400] = 10;
  Histogram late = over_unit_bins(counts);
  EXPECT_EQ(entropy_amax(late, 8, false, 1, 128), 400);
}

TEST(Percentile, Boundaries) {
  const Histogram histogram = over_unit_bins({1, 1, 1, 1});
  EXPECT_EQ(percentile_amax(histogram, 0), 0);
  EXPECT_EQ(percentile_amax(histogram, 25), 0);
  EXPECT_EQ(percentile_amax(histogram, 25.1), 1);
  EXPECT_EQ(percentile_amax(histogram, 100), 3);
  EXPECT_THROW(percentile_amax(histogram, 100.1), InputError);
}

}  // namespace
}  // namespace qdqbert::quant
