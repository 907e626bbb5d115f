// Runs each operation on a raw float32 file and writes results and seconds, for compare_with_numpy.py.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/quant/fake_quant.h"
#include "qdqbert/quant/histogram_calibrator.h"
#include "qdqbert/quant/numpy_histogram.h"
#include "qdqbert/quant/reduce_amax.h"

namespace {

using namespace qdqbert;
using namespace qdqbert::quant;

template <class Run>
double best_seconds(int repeats, const Run& run) {
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

template <class T>
void write(const std::string& path, const std::vector<T>& values) {
  write_file(path, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: quant_peer INPUT.f32 OUTPUT_DIRECTORY\n");
    return 2;
  }
  try {
    const std::string raw = read_file(argv[1]), out = std::string(argv[2]) + "/";
    std::vector<float> x(raw.size() / sizeof(float)), y(x.size());
    std::memcpy(x.data(), raw.data(), x.size() * sizeof(float));
    const int repeats = 5;
    Json seconds;
    float amax = 0;
    seconds["abs_max"] = best_seconds(repeats, [&] { amax = abs_max(x); });
    const AmaxView view = AmaxView::per_tensor(amax, x.size());
    seconds["fake_quant"] = best_seconds(repeats, [&] { fake_quant(x, view, {}, y); });
    write(out + "fake_quant.f32", y);
    seconds["backward"] = best_seconds(
        repeats, [&] { fake_quant_backward(x, AmaxView::per_tensor(amax / 2, x.size()), {}, x, y); });
    write(out + "backward.f32", y);
    Histogram histogram;
    seconds["histogram"] = best_seconds(repeats, [&] { histogram = numpy_histogram(x, 2048); });
    write(out + "histogram.i64", histogram.counts);
    write(out + "edges.f64", histogram.edges);
    HistogramCalibrator calibrator(8, std::nullopt, false);
    const Shape shape = {static_cast<int64_t>(x.size())};
    calibrator.collect(x, shape);
    seconds["later_batch"] = best_seconds(repeats, [&] { calibrator.collect(x, shape); });
    float percentile = 0, entropy = 0;
    seconds["percentile"] = best_seconds(repeats, [&] { percentile = percentile_amax(histogram, 99.99); });
    seconds["entropy"] = best_seconds(repeats, [&] {
      Histogram copy = histogram;
      entropy = entropy_amax(copy, 8, false, 1, 128);
    });
    write_file(
        out + "result.json",
        dump_json({{"amax", amax}, {"percentile", percentile}, {"entropy", entropy}, {"seconds", seconds}}));
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
