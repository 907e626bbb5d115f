#include <numeric>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/calibrate_weights.h"
#include "qdqbert/quant/histogram_calibrator.h"
#include "qdqbert/quant/max_calibrator.h"

#include "tests/quant/golden_tensors.h"
#include "tests/support/golden.h"

namespace qdqbert::quant {
namespace {

using testing::golden_dir;
using testing::GoldenFamily;

io::SafetensorsFile open(const std::string& name) {
  return io::SafetensorsFile::open(golden_dir() / "calibration" / (name + ".safetensors"));
}
Json json(const std::string& name) {
  return read_json(golden_dir() / "calibration" / (name + ".json"));
}

/// JSON writes what it cannot hold as a word.
double number(const Json& value) {
  if (value.is_string()) return std::strtod(value.get<std::string>().c_str(), nullptr);
  return value.get<double>();
}

HistogramOptions options_of(const Json& golden) {
  HistogramOptions options;
  options.num_bins = golden.at("num_bins").get<int>();
  options.skip_zeros = golden.value("skip_zeros", false);
  options.torch_hist = golden.value("torch_hist", false);
  return options;
}

double mse_of_center(const Histogram& histogram, float center, int num_bits, bool is_unsigned) {
  double sum = 0;
  for (size_t k = 0; k < histogram.counts.size(); ++k) {
    const float x = (static_cast<float>(histogram.edges[k + 1]) + static_cast<float>(histogram.edges[k])) / 2;
    float y;
    fake_quant({&x, 1}, AmaxView::per_tensor(center, 1), {num_bits, is_unsigned, true, Arithmetic::kToolkit},
               {&y, 1});
    sum += static_cast<double>(y - x) * (y - x) * static_cast<double>(histogram.counts[k]);
  }
  return sum;
}

void check_result(const HistogramCalibrator& collected, const Json& golden) {
  SCOPED_TRACE(golden.dump());
  AmaxRequest request;
  request.method = parse_histogram_method(golden.at("method").get<std::string>());
  request.percentile = golden.value("percentile", request.percentile);
  request.stride = golden.value("stride", request.stride);
  request.start_bin = golden.value("start_bin", request.start_bin);
  const int num_bits = golden.value("num_bits", collected.num_bits());
  const bool is_unsigned = golden.value("unsigned", collected.is_unsigned());

  Histogram histogram = collected.histogram();
  const auto compute = [&]() -> float {
    if (num_bits == collected.num_bits() && is_unsigned == collected.is_unsigned())
      return collected.clone()->compute_amax(request)->values.at(0);
    if (request.method == HistogramMethod::kMse)
      return mse_amax(histogram, num_bits, is_unsigned, request.stride, request.start_bin);
    return entropy_amax(histogram, num_bits, is_unsigned, request.stride, request.start_bin);
  };
  if (golden.contains("exception")) {
    EXPECT_THROW(compute(), InputError);
    return;
  }
  const float ours = compute(), reference = static_cast<float>(number(golden.at("amax")));
  if (request.method == HistogramMethod::kMse && ours != reference) {
    // The reference adds the errors of the bins in float32, so its minimum may lie 1e-6 beside the true one.
    const double least = mse_of_center(histogram, ours, num_bits, is_unsigned);
    EXPECT_NEAR(mse_of_center(histogram, reference, num_bits, is_unsigned), least, 1e-6 * least);
    return;
  }
  EXPECT_TRUE(same(ours, reference)) << ours << ", reference has " << reference;
}

TEST(Golden, Histogram) {
  const auto batches = open("batches"), file = open("histogram");
  const Json golden = json("histogram");
  GoldenFamily family("histogram");
  for (const Json& item : golden.at("cases")) {
    const std::string name = item.at("name");
    family.run(name, [&] {
      HistogramCalibrator calibrator(item.at("num_bits").get<int>(), std::nullopt,
                                     item.at("unsigned").get<bool>(), options_of(item));
      for (const Json& step : item.at("after_batch")) {
        const std::string batch = std::to_string(step.at("batch").get<int>());
        SCOPED_TRACE("after batch " + batch);
        const FloatArray x = read_array(batches, item.at("batches").get<std::string>() + ".batch" + batch);
        if (step.contains("exception")) {
          EXPECT_THROW(calibrator.collect(x.values, x.shape), InputError);
          continue;
        }
        calibrator.collect(x.values, x.shape);
        const Histogram& histogram = calibrator.histogram();
        EXPECT_EQ(histogram.counts.size(), step.at("hist_len").get<size_t>());
        EXPECT_EQ(histogram.edges.size(), step.at("edges_len").get<size_t>());
        EXPECT_EQ(calibrator.num_bins(), step.at("num_bins_attribute").get<int>());
        EXPECT_EQ(static_cast<double>(
                      std::accumulate(histogram.counts.begin(), histogram.counts.end(), int64_t{0})),
                  step.at("total").get<double>());
        EXPECT_EQ(histogram.edges.front(), step.at("first_edge").get<double>());
        EXPECT_EQ(histogram.edges.back(), step.at("last_edge").get<double>());
        if (const TensorView* counts = file.find(name + ".hist" + batch)) {
          EXPECT_EQ(first_difference(histogram.counts, to_int64(*counts)), "") << "counts";
        }
      }
      if (const TensorView* edges = file.find(name + ".edges")) {
        EXPECT_EQ(first_difference(calibrator.histogram().edges, read_doubles(*edges)), "") << "edges";
      }
      if (item.contains("str")) {
        EXPECT_EQ(calibrator.to_string(), item.at("str").get<std::string>());
      }
      if (item.contains("results"))
        for (const Json& result : item.at("results")) check_result(calibrator, result);
    });
  }
}

TEST(Golden, HistogramNewerTorch) {
  const auto batches = open("batches");
  std::map<std::string, Json> older;
  const Json histograms = json("histogram");
  for (const Json& item : histograms.at("cases")) older[item.at("name").get<std::string>()] = item;
  const Json golden = json("histogram_newer_torch");
  GoldenFamily family("histogram_newer_torch");
  for (const Json& item : golden.at("cases")) {
    const std::string name = item.at("name");
    family.run(name, [&] {
      if (item.value("bins_that_differ_from_older_torch", 0) != 0)
        throw testing::GoldenSkip{"values on bin boundaries fall differently in newer PyTorch"};
      const Json& options = older.at(name);
      HistogramCalibrator calibrator(8, std::nullopt, false, options_of(options));
      for (const Json& step : item.at("steps")) {
        const FloatArray x = read_array(batches, options.at("batches").get<std::string>() + ".batch" +
                                                     std::to_string(step.at("batch").get<int>()));
        if (step.contains("exception")) {
          EXPECT_THROW(calibrator.collect(x.values, x.shape), InputError);
          continue;
        }
        calibrator.collect(x.values, x.shape);
        EXPECT_EQ(calibrator.histogram().counts.size(), step.at("hist_len").get<size_t>());
        EXPECT_EQ(calibrator.histogram().edges.size(), step.at("edges_len").get<size_t>());
      }
      if (!item.contains("percentile")) return;
      for (const auto& [percentile, amax] : item.at("percentile").items()) {
        // Newer PyTorch rounds linspace differently. Either way an edge is end - k * step:
        // the rounded step, the product and the difference lose at most 2^-24 of the end each,
        // so two of them lie within 2^-22 of it.
        const double reference = number(amax), end = calibrator.histogram().edges.back();
        EXPECT_NEAR(percentile_amax(calibrator.histogram(), std::stod(percentile)), reference, 0x1p-22 * end)
            << percentile;
      }
    });
  }
}

std::optional<Axis> axis_of(const Json& golden) {
  const Json& axis = golden.at("axis");
  if (axis.is_null()) return std::nullopt;
  if (axis.is_number()) return Axis::of(axis.get<int>());
  const bool tuple = golden.at("axis_type") == "tuple";
  return Axis{axis.get<std::vector<int>>(), tuple ? Axis::Form::kTuple : Axis::Form::kList};
}

void flatten(const Json& nested, std::vector<float>& out) {
  if (!nested.is_array()) {
    out.push_back(static_cast<float>(number(nested)));
  } else {
    for (const Json& item : nested) flatten(item, out);
  }
}

TEST(Golden, Max) {
  const auto file = open("max");
  const Json golden = json("max");
  GoldenFamily family("max");
  for (const Json& item : golden.at("cases")) {
    const std::string name = item.at("name");
    family.run(name, [&] {
      MaxCalibrator calibrator(8, axis_of(item), false, true);
      const std::string data = name.substr(0, name.find('.'));
      int batch = -1;
      for (const Json& step : item.at("steps")) {
        const FloatArray x = read_array(file, fmt::format("{}.batch{}", data, ++batch));
        if (step.contains("exception")) {
          EXPECT_THROW(calibrator.collect(x.values, x.shape), InputError);
          continue;
        }
        calibrator.collect(x.values, x.shape);
        const FloatArray ours = *calibrator.compute_amax();
        EXPECT_EQ(ours.shape, step.at("shape").get<Shape>());
        EXPECT_EQ(first_difference(ours.values, to_float32(file.at(fmt::format("{}.amax{}", name, batch)))),
                  "");
      }
      EXPECT_EQ(calibrator.to_string(), item.at("str").get<std::string>());
      const std::vector<FloatArray> tracked = calibrator.tracked();
      ASSERT_EQ(tracked.size(), item.at("tracked").size());
      for (size_t i = 0; i < tracked.size(); ++i) {
        std::vector<float> reference;
        flatten(item.at("tracked").at(i), reference);
        EXPECT_EQ(first_difference(tracked[i].values, reference), "") << "tracked " << i;
      }
      calibrator.reset();
      EXPECT_EQ(calibrator.compute_amax().has_value(), !item.at("after_reset").is_null());
      EXPECT_EQ(calibrator.tracked().size(), item.at("tracked_after_reset").get<size_t>());
    });
  }
}

TEST(Golden, CalibrateWeights) {
  const auto file = open("calibrate_weights");
  const Json golden = json("calibrate_weights");
  // The channel dimension belongs to the module's class;
  // the cases show it in the shapes of per-channel ranges.
  std::map<std::string, int> channel_axis;
  for (const Json& item : golden.at("cases")) {
    if (!item.value("perchannel", false) || !item.contains("amax")) continue;
    for (const auto& [module, info] : item.at("amax").items()) {
      const Shape shape = info.at("shape").get<Shape>();
      for (size_t d = 0; d < shape.size(); ++d)
        if (shape[d] != 1) channel_axis[module] = static_cast<int>(d);
    }
  }
  GoldenFamily family("calibrate_weights");
  for (const Json& item : golden.at("cases")) {
    const std::string name = item.at("name");
    family.run(name, [&] {
      if (!item.contains("method"))
        throw testing::GoldenSkip{"a range assigned to a module: covered by the module's own cases"};
      WeightCalibration options;
      options.percentile = item.value("percentile", options.percentile);
      options.num_bins = item.value("num_bins", options.num_bins);
      const auto calibrate = [&](const std::string& quantizer, int axis) {
        options.method = parse_weight_method(item.at("method").get<std::string>());
        const std::string module = quantizer.substr(0, quantizer.rfind('.')),
                          plain = module + ".weight.plain_rows";
        const bool use_plain = item.value("plain_rows", false) && file.find(plain);
        const FloatArray weight = read_array(file, use_plain ? plain : module + ".weight");
        const bool per_channel = item.at("perchannel").get<bool>();
        return calibrate_weight(weight.values, weight.shape,
                                per_channel ? std::optional<int>(axis) : std::nullopt, options);
      };
      if (item.contains("exception")) {
        EXPECT_THROW(
            {
              for (const auto& [quantizer, axis] : channel_axis) calibrate(quantizer, axis);
            },
            InputError);
        return;
      }
      for (const auto& [quantizer, info] : item.at("amax").items()) {
        const FloatArray ours = calibrate(quantizer, channel_axis.at(quantizer));
        EXPECT_EQ(ours.shape, info.at("shape").get<Shape>()) << quantizer;
        EXPECT_EQ(first_difference(ours.values, to_float32(file.at(name + "." + quantizer))), "")
            << quantizer;
      }
    });
  }
}

}  // namespace
}  // namespace qdqbert::quant
