// Throughput of the elementwise loops against copying memory, for every instruction set of this machine.
// Bytes are those read and written once; the copy of the same size is the roofline.
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/quant/fake_quant.h"
#include "qdqbert/quant/histogram_calibrator.h"
#include "qdqbert/quant/reduce_amax.h"

namespace {

using namespace qdqbert;
using namespace qdqbert::quant;

// Sixteen windows of 384 tokens and 384 features, and an L2-sized piece of them.
constexpr int64_t kLarge = 16 * 384 * 384, kSmall = 1 << 15;

std::vector<float> values(int64_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(count));
  for (float& value : x) value = normal(random);
  return x;
}

void bytes(benchmark::State& state, int64_t count, int64_t streams) {
  state.SetBytesProcessed(state.iterations() * count * streams * static_cast<int64_t>(sizeof(float)));
}

void copy(benchmark::State& state) {
  const auto x = values(state.range(0));
  std::vector<float> y(x.size());
  for (auto _ : state) {
    std::memcpy(y.data(), x.data(), x.size() * sizeof(float));
    benchmark::ClobberMemory();
  }
  bytes(state, state.range(0), 2);
}

void forward(benchmark::State& state, Isa isa, Arithmetic arithmetic, bool per_channel) {
  ::setenv("QDQBERT_ISA", std::string(name_of(isa)).c_str(), 1);
  const auto x = values(state.range(0));
  std::vector<float> y(x.size());
  const Shape shape = {state.range(0) / 384, 384};
  const size_t used = static_cast<size_t>(shape[0] * 384);
  const std::span<const float> in(x.data(), used);
  const FloatArray amax = per_channel ? amax_of_kept_axes(in, shape, {0}) : FloatArray::scalar(3);
  const AmaxView view = lay_amax(amax, shape, arithmetic);
  const QuantParams params{8, false, false, arithmetic};
  for (auto _ : state) {
    fake_quant(in, view, params, {y.data(), used}, static_cast<int>(state.range(1)));
    benchmark::ClobberMemory();
  }
  bytes(state, state.range(0), 2);
}

void backward(benchmark::State& state, Isa isa) {
  ::setenv("QDQBERT_ISA", std::string(name_of(isa)).c_str(), 1);
  const auto x = values(state.range(0));
  std::vector<float> grad(x.size());
  for (auto _ : state) {
    fake_quant_backward(x, AmaxView::per_tensor(3, x.size()), {}, x, grad, static_cast<int>(state.range(1)));
    benchmark::ClobberMemory();
  }
  bytes(state, state.range(0), 3);
}

void largest(benchmark::State& state, Isa isa) {
  ::setenv("QDQBERT_ISA", std::string(name_of(isa)).c_str(), 1);
  const auto x = values(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(abs_max(x, static_cast<int>(state.range(1))));
  bytes(state, state.range(0), 1);
}

/// One batch after the first: range and counts, as calibration does it.
void histogram(benchmark::State& state, Isa isa) {
  ::setenv("QDQBERT_ISA", std::string(name_of(isa)).c_str(), 1);
  ::setenv("QDQBERT_THREADS", std::to_string(state.range(1)).c_str(), 1);
  const auto x = values(state.range(0));
  HistogramCalibrator calibrator(8, std::nullopt, false);
  calibrator.collect(x, {state.range(0)});
  for (auto _ : state) calibrator.collect(x, {state.range(0)});
  bytes(state, state.range(0), 1);
  ::unsetenv("QDQBERT_THREADS");
}

void entropy(benchmark::State& state) {
  const auto x = values(1 << 20);
  HistogramCalibrator calibrator(8, std::nullopt, false);
  calibrator.collect(x, {1 << 20});
  for (auto _ : state)
    benchmark::DoNotOptimize(calibrator.compute_amax({HistogramMethod::kEntropy, 99.99, 1, 128}));
}

void mse(benchmark::State& state) {
  const auto x = values(1 << 20);
  HistogramCalibrator calibrator(8, std::nullopt, false);
  calibrator.collect(x, {1 << 20});
  for (auto _ : state)
    benchmark::DoNotOptimize(calibrator.compute_amax({HistogramMethod::kMse, 99.99, 1, 128}));
}

void add(const std::string& name, void (*run)(benchmark::State&, Isa), Isa isa) {
  benchmark::RegisterBenchmark((name + "/" + std::string(name_of(isa))).c_str(), run, isa)
      ->Args({kSmall, 1})
      ->Args({kLarge, 1})
      ->Args({kLarge, 2})
      ->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::RegisterBenchmark("copy", copy)->Arg(kSmall)->Arg(kLarge)->UseRealTime();
  for (const Isa isa : {Isa::kRef, Isa::kAvx2, Isa::kAvx512Vnni}) {
    if (!supports(isa)) continue;
    add(
        "fake_quant/per_tensor", [](auto& s, Isa i) { forward(s, i, Arithmetic::kToolkit, false); }, isa);
    add(
        "fake_quant/per_channel", [](auto& s, Isa i) { forward(s, i, Arithmetic::kToolkit, true); }, isa);
    add(
        "fake_quant/affine", [](auto& s, Isa i) { forward(s, i, Arithmetic::kAffine, false); }, isa);
    add("fake_quant/backward", backward, isa);
    add("abs_max", largest, isa);
    add("histogram", histogram, isa);
  }
  benchmark::RegisterBenchmark("entropy", entropy)->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("mse", mse)->Unit(benchmark::kMillisecond);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
