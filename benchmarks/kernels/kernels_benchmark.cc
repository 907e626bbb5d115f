// Times every row of the kernel tables that this machine can run, on one thread: matrix multiplications with
// and without their epilogues at the shapes of BERT-base, the row kernels, and packing. Counter `peak` is the
// share of the highest rate of the kernel's own multiply instruction, measured in this process before the
// first case.
//
//   kernels_benchmark --benchmark_filter='gemm.*/avx512vnni' --benchmark_format=json
#include <algorithm>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "qdqbert/engine/float_control.h"
#include "qdqbert/engine/integer/arena.h"
#include "qdqbert/engine/kernels/blocking.h"
#include "qdqbert/engine/kernels/peak.h"
#include "qdqbert/engine/kernels/select.h"
#include "qdqbert/engine/kernels/self_check.h"

#include "benchmarks/kernels/cycle_counter.h"

namespace {

using namespace qdqbert;
using namespace qdqbert::engine;

constexpr float kNoClip = std::numeric_limits<float>::infinity();

double peak_of(Isa isa) {
  static std::map<Isa, double> peaks;
  const auto found = peaks.find(isa);
  return found != peaks.end() ? found->second : peaks[isa] = measured_peak_gops(isa, 1);
}

template <class T>
AlignedBuffer<T> filled(size_t n, int low, int high) {
  static std::mt19937 random(3);
  std::uniform_int_distribution<int> value(low, high);
  AlignedBuffer<T> out(n);
  for (size_t i = 0; i < n; ++i) out.data()[i] = static_cast<T>(value(random));
  return out;
}

std::vector<float> floats(size_t n, float low, float high) {
  static std::mt19937 random(4);
  std::uniform_real_distribution<float> value(low, high);
  std::vector<float> out(n);
  for (float& x : out) x = value(random);
  return out;
}

/// Times `body`, in cycles, too, where they can be counted.
template <class Body>
void timed(benchmark::State& state, const Body& body) {
  const CycleCounter counter;
  const uint64_t start = counter.now();
  for (auto _ : state) {
    body();
    benchmark::ClobberMemory();
  }
  if (counter.counts())
    state.counters["cycles"] =
        benchmark::Counter(static_cast<double>(counter.now() - start), benchmark::Counter::kAvgIterations);
}

enum class Epilogue { kNone, kRequantize, kGelu, kNorm };

struct Shape {
  size_t m, k, n;
  Epilogue epilogue;
};

const char* name_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::kNone:
      return "int32";
    case Epilogue::kRequantize:
      return "requantize";
    case Epilogue::kGelu:
      return "gelu";
    case Epilogue::kNorm:
      return "layernorm";
  }
  return "";
}

/// Blocked as the encoder does: blocks of panels times blocks of rows, or whole rows where LayerNorm follows.
void gemm(benchmark::State& state, Isa isa, Shape shape) {
  const StandardFloatControl standard;
  const GemmS8Kernel& kernel = gemm_s8_for(isa);
  const RowKernels& rows = rows_for(isa);
  const size_t m = shape.m, k = shape.k, n = shape.n;
  const Epilogue epilogue = shape.epilogue;
  const size_t bytes = panel_bytes(kernel, k), panels = panel_count(kernel, n);
  const auto b = filled<int8_t>(n * k, -127, 127);
  AlignedBuffer<unsigned char> packed(panels * bytes);
  pack_panels(kernel, {b.data(), k, n, 1, k}, packed.data());
  const auto a = filled<uint8_t>((m + 32) * k, 0, 255);
  AlignedBuffer<uint8_t> out((m + 32) * n);
  const auto residual = filled<uint8_t>((m + 32) * n, 0, 255);
  AlignedBuffer<int32_t> acc(kRowBlock * (n + 64));
  const auto scale = floats(n, 1e-5f, 2e-5f), bias = floats(n, -1, 1), inverse = floats(n, 20, 30);
  AlignedBuffer<float> scratch(n + 64);
  const CodeOutput to_template = {nullptr, n, 30.0f, 0x80};
  timed(state, [&] {
    kernel.enter();
    if (epilogue == Epilogue::kNorm) {
      for (size_t i = 0; i < m; i += kRowBlock) {
        const size_t now = std::min(kRowBlock, m - i);
        for (size_t p = 0; p < panels; ++p)
          kernel.run(a.data() + i * k, k, now, packed.data() + p * bytes, k, acc.data() + p * kernel.columns,
                     n);
        CodeOutput to = to_template;
        to.codes = out.data() + i * n;
        ResidualLayerNormArgs args{};
        args.acc = acc.data();
        args.ldacc = n;
        args.rows = now;
        args.n = args.n_used = n;
        args.scale = scale.data();
        args.bias = bias.data();
        args.local_inverse = 20;
        args.local_scale = 0.05f;
        args.residual_codes = residual.data() + i * n;
        args.ldresidual_codes = n;
        args.residual_flip = 0x80;
        args.residual_scale = 0.03f;
        args.gamma = scale.data();
        args.beta = bias.data();
        args.epsilon = 1e-12f;
        args.row_scratch = scratch.data();
        args.outputs = &to;
        args.output_count = 1;
        rows.residual_layernorm(args);
      }
    } else {
      for (size_t first = 0; first < panels; first += kPanelBlock)
        for (size_t i = 0; i < m; i += kRowBlock)
          for (size_t p = first; p < std::min(panels, first + kPanelBlock); ++p) {
            const size_t now = std::min(kRowBlock, m - i), column = p * kernel.columns;
            kernel.run(a.data() + i * k, k, now, packed.data() + p * bytes, k, acc.data(), kernel.columns);
            if (epilogue == Epilogue::kNone) continue;
            rows.requantize({acc.data(), kernel.columns, now, kernel.columns, scale.data() + column,
                             bias.data() + column,
                             epilogue == Epilogue::kGelu ? Activation::kGelu : Activation::kNone, kNoClip,
                             inverse.data() + column, out.data() + i * n + column, n, 0x80, nullptr, 0});
          }
    }
    kernel.leave();
  });
  const double operations = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const double iterations = static_cast<double>(state.iterations());
  state.counters["GOPS"] = benchmark::Counter(operations * iterations * 1e-9, benchmark::Counter::kIsRate);
  state.counters["peak"] =
      benchmark::Counter(operations * iterations * 1e-9 / peak_of(isa), benchmark::Counter::kIsRate);
}

void count_values(benchmark::State& state, size_t values) {
  state.counters["Gvalues"] =
      benchmark::Counter(static_cast<double>(values) * static_cast<double>(state.iterations()) * 1e-9,
                         benchmark::Counter::kIsRate);
}

void requantize(benchmark::State& state, Isa isa, Activation activation) {
  const StandardFloatControl standard;
  constexpr size_t kColumns = 32;
  const auto acc = filled<int32_t>(kRowBlock * kColumns, -300000, 300000);
  const auto scale = floats(kColumns, 1e-5f, 2e-5f), bias = floats(kColumns, -1, 1),
             inverse = floats(kColumns, 20, 30);
  AlignedBuffer<uint8_t> codes(kRowBlock * kColumns);
  timed(state, [&] {
    rows_for(isa).requantize({acc.data(), kColumns, kRowBlock, kColumns, scale.data(), bias.data(),
                              activation, kNoClip, inverse.data(), codes.data(), kColumns, 0x80, nullptr, 0});
  });
  count_values(state, kRowBlock * kColumns);
}

void layernorm(benchmark::State& state, Isa isa, size_t n) {
  const StandardFloatControl standard;
  const auto sums = filled<int32_t>(kRowBlock * n, -300000, 300000);
  AlignedBuffer<int32_t> acc(kRowBlock * n);
  const auto residual = filled<uint8_t>(kRowBlock * n, 0, 255);
  const auto scale = floats(n, 1e-5f, 2e-5f), bias = floats(n, -1, 1), gamma = floats(n, 0.5f, 2);
  AlignedBuffer<uint8_t> codes(kRowBlock * n);
  AlignedBuffer<float> scratch(n);
  const CodeOutput to = {codes.data(), n, 30.0f, 0x80};
  timed(state, [&] {
    std::copy(sums.data(), sums.data() + sums.size(), acc.data());
    rows_for(isa).residual_layernorm({acc.data(),
                                      n,
                                      kRowBlock,
                                      n,
                                      n,
                                      scale.data(),
                                      bias.data(),
                                      20.0f,
                                      0.05f,
                                      residual.data(),
                                      n,
                                      0x80,
                                      0.03f,
                                      nullptr,
                                      0,
                                      gamma.data(),
                                      bias.data(),
                                      1e-12f,
                                      scratch.data(),
                                      nullptr,
                                      0,
                                      &to,
                                      1});
  });
  count_values(state, kRowBlock * n);
}

void softmax(benchmark::State& state, Isa isa, size_t keys) {
  const StandardFloatControl standard;
  constexpr size_t kRows = 48;
  const auto scores = filled<int32_t>(kRows * keys, -3000, 3000);
  AlignedBuffer<int32_t> acc(kRows * keys);
  AlignedBuffer<uint8_t> codes(kRows * keys);
  timed(state, [&] {
    std::copy(scores.data(), scores.data() + scores.size(), acc.data());
    rows_for(isa).softmax(
        {acc.data(), keys, kRows, keys, keys, 0.002f, 127.0f, codes.data(), keys, 0x80, 0x80});
  });
  count_values(state, kRows * keys);
}

void linear_f32(benchmark::State& state, Isa isa, size_t m, size_t n) {
  const StandardFloatControl standard;
  constexpr size_t kHidden = 768;
  const auto a = floats(m * kHidden, -1, 1), w = floats(n * kHidden, -1, 1), bias = floats(n, -1, 1);
  std::vector<float> packed(packed_f32_size(kHidden, n)), out(m * n);
  pack_f32({w.data(), kHidden, n, 1, kHidden}, packed.data());
  timed(state, [&] {
    rows_for(isa).linear_f32(
        {a.data(), kHidden, m, kHidden, n, packed.data(), narrow_f32(n), bias.data(), out.data(), n});
  });
  state.counters["GFLOPS"] = benchmark::Counter(
      2e-9 * static_cast<double>(m * n * kHidden) * static_cast<double>(state.iterations()),
      benchmark::Counter::kIsRate);
}

/// One head of one text: keys are columns of B, values are rows.
void pack(benchmark::State& state, Isa isa, size_t tokens, bool keys) {
  const GemmS8Kernel& kernel = gemm_s8_for(isa);
  constexpr size_t kHead = 64, kStride = 2304;
  const auto qkv = filled<int8_t>(tokens * kStride, -128, 127);
  const MatrixS8 b = keys ? MatrixS8{qkv.data(), kHead, tokens, 1, kStride}
                          : MatrixS8{qkv.data(), tokens, kHead, kStride, 1};
  AlignedBuffer<unsigned char> panels(panel_count(kernel, b.n) * panel_bytes(kernel, padded_k(b.k)));
  timed(state, [&] { pack_panels(kernel, b, panels.data()); });
  count_values(state, tokens * kHead);
}

void add(const std::string& name, auto&& body) {
  benchmark::RegisterBenchmark(name.c_str(), body)->MinTime(0.3);
}

/// What a process pays once for the kernels that it uses.
void self_check(benchmark::State& state, Isa isa) {
  timed(state, [&] {
    benchmark::DoNotOptimize(fault_of(gemm_s8_for(isa)));
    benchmark::DoNotOptimize(fault_of(rows_for(isa)));
  });
}

void add_cases(Isa isa) {
  const std::string suffix = "/" + std::string(qdqbert::name_of(isa));
  std::vector<Shape> shapes;
  for (const size_t m : {1024, 128}) {
    shapes.push_back({m, 768, 3072, Epilogue::kNone});
    shapes.push_back({m, 768, 3072, Epilogue::kGelu});
    shapes.push_back({m, 3072, 768, Epilogue::kNone});
    shapes.push_back({m, 3072, 768, Epilogue::kNorm});
    shapes.push_back({m, 768, 2304, Epilogue::kRequantize});
    shapes.push_back({m, 768, 768, Epilogue::kNorm});
  }
  // The two products of attention, one head.
  for (const size_t s : {128, 384}) {
    shapes.push_back({s, 64, s, Epilogue::kNone});
    shapes.push_back({s, s, 64, Epilogue::kNone});
  }
  for (const Shape& s : shapes)
    add("gemm/" + std::to_string(s.m) + "x" + std::to_string(s.k) + "x" + std::to_string(s.n) + "/" +
            name_of(s.epilogue) + suffix,
        [isa, s](benchmark::State& state) { gemm(state, isa, s); });
  for (const auto& [name, activation] : {std::pair<const char*, Activation>{"none", Activation::kNone},
                                         {"gelu", Activation::kGelu},
                                         {"gelu_tanh", Activation::kGeluTanh},
                                         {"relu", Activation::kRelu},
                                         {"silu", Activation::kSilu},
                                         {"tanh", Activation::kTanh}})
    add(std::string("requantize/") + name + suffix,
        [isa, activation = activation](benchmark::State& state) { requantize(state, isa, activation); });
  for (const size_t n : {384, 768, 1024})
    add("layernorm/" + std::to_string(n) + suffix,
        [isa, n](benchmark::State& state) { layernorm(state, isa, n); });
  for (const auto& [m, n] : {std::pair<size_t, size_t>{1, 768}, {96, 768}, {96, 2}})
    add("linear_f32/" + std::to_string(m) + "x768x" + std::to_string(n) + suffix,
        [isa, m = m, n = n](benchmark::State& state) { linear_f32(state, isa, m, n); });
  for (const size_t n : {128, 384}) {
    add("softmax/" + std::to_string(n) + suffix,
        [isa, n](benchmark::State& state) { softmax(state, isa, n); });
    add("pack_keys/" + std::to_string(n) + suffix,
        [isa, n](benchmark::State& state) { pack(state, isa, n, true); });
    add("pack_values/" + std::to_string(n) + suffix,
        [isa, n](benchmark::State& state) { pack(state, isa, n, false); });
  }
  add("self_check" + suffix, [isa](benchmark::State& state) { self_check(state, isa); });
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const Isa isa : {Isa::kAmxInt8, Isa::kAvx512Vnni, Isa::kAvxVnni, Isa::kAvx2, Isa::kRef}) {
    if (!supports(isa)) continue;
    benchmark::AddCustomContext("peak_gops_" + std::string(qdqbert::name_of(isa)),
                                std::to_string(peak_of(isa)));
    // The scalar reference defines results; its multiplications take seconds.
    if (isa != Isa::kRef) add_cases(isa);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
