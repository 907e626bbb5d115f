// qdqbert bench: how fast an ONNX file answers on this machine.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/engine/kernels/peak.h"
#include "qdqbert/pipeline/model_files.h"
#include "qdqbert/pipeline/span_model.h"

#include "cli/bench_load.h"
#include "cli/bench_options.h"
#include "cli/latency.h"
#include "cli/memory_use.h"
#include "cli/plan_report.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace qdqbert::cli {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name") && line.find(": ") != std::string::npos)
      return line.substr(line.find(": ") + 2);
  return "unknown processor";
}

/// Hands out batches in order to any number of streams, in whole rounds over all of them.
class Schedule {
 public:
  Schedule(size_t batches, double seconds, int64_t iterations)
      : batches_(batches), seconds_(seconds), iterations_(iterations), start_(Clock::now()) {}

  /// False when it is time to stop.
  bool next(size_t& batch) {
    const std::lock_guard lock(mutex_);
    batch = static_cast<size_t>(taken_) % batches_;
    if (stopped_ || (batch == 0 && taken_ >= iterations_ && seconds_since(start_) >= seconds_)) return false;
    ++taken_;
    return true;
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  double elapsed() const { return seconds_since(start_); }

 private:
  const size_t batches_;
  const double seconds_;
  const int64_t iterations_;
  const Clock::time_point start_;
  std::mutex mutex_;
  int64_t taken_ = 0;
  bool stopped_ = false;
};

class Bench {
 public:
  explicit Bench(BenchOptions options) : o_(std::move(options)) {}

  void run() {
    const auto start = Clock::now();
    const std::filesystem::path file = pipeline::find_onnx_file(o_.model);
    if (o_.like_ort_script) fmt::print("Create inference session...\n");
    session_.emplace(file, o_.engine.options());
    load_ms_ = 1e3 * seconds_since(start);
    memory_at_load_ = memory_use();
    if (static_cast<size_t>(o_.seq) > session_->longest_text())
      fail<UsageError>("[bench] --seq is {}, the model has {} positions", o_.seq, session_->longest_text());
    prepare();
    if (o_.verbose) fmt::print("{}\n", describe_plan(*session_));
    if (o_.like_ort_script) {
      as_ort_script();
    } else {
      if (o_.warmup > 0) measure("warming up", o_.warmup, 1);
      measure("measuring", o_.seconds, o_.iterations);
    }
    memory_ = memory_use();
    measure_peak();
    if (o_.profile) profile();
    if (!o_.like_ort_script) print(file);
    if (o_.profile) print_profile();
    if (o_.json) write_file(*o_.json, dump_json(report(file)) + "\n");
  }

 private:
  void prepare() {
    const auto longest = static_cast<size_t>(o_.seq), batch = static_cast<size_t>(o_.batch);
    if (o_.lengths.empty()) {
      batches_.emplace_back(std::vector<size_t>(batch, longest), *session_, 0, o_.like_ort_script);
      return;
    }
    const std::vector<size_t> lengths =
        o_.lengths == "mixed" ? mixed_lengths(longest) : read_lengths(o_.lengths, longest);
    std::vector<std::vector<size_t>> groups;
    if (o_.tokens_per_batch) {
      groups = pipeline::batches_by_tokens(lengths, static_cast<size_t>(*o_.tokens_per_batch),
                                           !session_->packed());
    } else {
      for (size_t i = 0; i < lengths.size(); ++i) {
        if (i % batch == 0) groups.emplace_back();
        groups.back().push_back(i);
      }
      // The last one is filled up from the beginning, so that all are of one size.
      for (size_t i = 0; groups.back().size() < batch; ++i) groups.back().push_back(i % lengths.size());
    }
    for (const std::vector<size_t>& group : groups) {
      std::vector<size_t> of_batch;
      for (const size_t i : group) of_batch.push_back(lengths[i]);
      batches_.emplace_back(of_batch, *session_, batches_.size());
    }
  }

  /// Fills latencies_, seconds_, texts_, tokens_ and operations_.
  void measure(const char* phase, double seconds, int64_t iterations) {
    const auto streams = static_cast<size_t>(o_.engine.streams);
    struct Stream {
      std::vector<double> milliseconds;
      size_t texts = 0, tokens = 0;
      double operations = 0;
      std::exception_ptr error;
    };
    std::vector<Stream> all(streams);
    std::vector<double> operations(batches_.size());
    for (size_t b = 0; b < batches_.size(); ++b)
      for (const engine::PlanStep& step : session_->plan()) operations[b] += batches_[b].operations(step);
    Schedule schedule(batches_.size(), seconds, iterations);
    const ProgressSink progress = progress_.sink();
    const auto total = std::max<int64_t>(1, static_cast<int64_t>(1e3 * seconds));
    const auto work = [&](Stream& stream, bool reports) {
      try {
        for (size_t b = 0; schedule.next(b);) {
          const auto start = Clock::now();
          batches_[b].run(*session_);
          stream.milliseconds.push_back(1e3 * seconds_since(start));
          stream.texts += batches_[b].texts();
          stream.tokens += batches_[b].tokens();
          stream.operations += operations[b];
          if (reports)
            progress(phase, std::min(static_cast<int64_t>(1e3 * schedule.elapsed()), total - 1), total);
        }
      } catch (...) {
        stream.error = std::current_exception();
        schedule.stop();
      }
    };
    std::vector<std::thread> threads;
    for (size_t s = 1; s < streams; ++s) threads.emplace_back(work, std::ref(all[s]), false);
    work(all[0], true);
    for (std::thread& thread : threads) thread.join();
    seconds_ = schedule.elapsed();
    for (const Stream& stream : all)
      if (stream.error) std::rethrow_exception(stream.error);
    progress(phase, total, total);
    latencies_.clear();
    texts_ = tokens_ = 0;
    operations_ = 0;
    for (const Stream& stream : all) {
      latencies_.insert(latencies_.end(), stream.milliseconds.begin(), stream.milliseconds.end());
      texts_ += stream.texts;
      tokens_ += stream.tokens;
      operations_ += stream.operations;
    }
  }

  void as_ort_script() {
    constexpr int kRuns = 2000;
    const ProgressSink progress = progress_.sink();
    fmt::print("Warm up phase...\n");
    batches_[0].run(*session_);
    fmt::print("Start inference...\n");
    std::fflush(stdout);
    const auto begin = Clock::now();
    for (int i = 0; i < kRuns; ++i) {
      const auto start = Clock::now();
      batches_[0].run(*session_);
      latencies_.push_back(1e3 * seconds_since(start));
      progress("running", i + 1, kRuns);
    }
    seconds_ = seconds_since(begin);
    texts_ = kRuns;
    tokens_ = kRuns * batches_[0].tokens();
    for (const engine::PlanStep& step : session_->plan()) operations_ += kRuns * batches_[0].operations(step);
    fmt::print("Average Inference Time = {:.3f} ms\n", latency_of(latencies_).mean);
  }

  /// Only integer kernels are compared with the peak of the integer instructions.
  void measure_peak() {
    if (o_.engine.precision != "auto" || operations_ == 0) return;
    peak_gops_ = engine::measured_peak_gops(session_->isa(),
                                            session_->threads() * static_cast<int>(o_.engine.streams));
    share_of_peak_ = operations_ / 1e9 / seconds_ / peak_gops_;
  }

  /// Runs of their own: reading clocks between steps costs time.
  void profile() {
    constexpr double kSeconds = 1;
    constexpr int64_t kRuns = 5;
    const size_t steps = session_->plan().size();
    step_ms_.assign(steps, 0);
    step_operations_.assign(steps, 0);
    Schedule schedule(batches_.size(), std::min(kSeconds, o_.seconds), kRuns);
    const ProgressSink progress = progress_.sink();
    for (size_t b = 0; schedule.next(b);) {
      engine::Profile profile;
      batches_[b].run(*session_, &profile);
      for (size_t s = 0; s < std::min(steps, profile.step_nanoseconds.size()); ++s) {
        step_ms_[s] += static_cast<double>(profile.step_nanoseconds[s]) / 1e6;
        step_operations_[s] += batches_[b].operations(session_->plan()[s]);
      }
      progress("profiling", ++profiled_runs_, 0);
    }
    for (size_t s = 0; s < steps; ++s) {
      step_ms_[s] /= static_cast<double>(profiled_runs_);
      step_operations_[s] /= static_cast<double>(profiled_runs_);
    }
    // Steps run one after the other on the threads of one stream.
    stream_peak_gops_ = peak_gops_ > 0 && o_.engine.streams > 1
                            ? engine::measured_peak_gops(session_->isa(), session_->threads())
                            : peak_gops_;
  }

  std::string batch_text() const {
    if (o_.lengths.empty()) return fmt::format("{} x {} tokens", o_.batch, o_.seq);
    const std::string size = o_.tokens_per_batch ? fmt::format("about {} tokens", *o_.tokens_per_batch)
                                                 : fmt::format("{} texts", o_.batch);
    return fmt::format("{}, {} lengths up to {}", size, o_.lengths, o_.seq);
  }

  void print(const std::filesystem::path& file) const {
    const Latency latency = latency_of(latencies_);
    fmt::print("model       {}, precision {}, {}\n", file.string(), o_.engine.precision,
               session_->packed() ? "padding removed" : "padding kept");
    fmt::print("machine     {}; {}{}\n", processor_name(), machine_text(*session_),
               o_.engine.streams > 1 ? fmt::format(" in each of {} streams", o_.engine.streams) : "");
    fmt::print("load        {:.1f} ms\n", load_ms_);
    fmt::print("runs        {} of {} in {:.2f} s\n", latencies_.size(), batch_text(), seconds_);
    fmt::print("latency     min {:.3f}, mean {:.3f}, median {:.3f}, p90 {:.3f}, p95 {:.3f}, p99 {:.3f} ms\n",
               latency.min, latency.mean, latency.median, latency.p90, latency.p95, latency.p99);
    fmt::print("throughput  {:.1f} sequences/s, {:.0f} tokens/s\n", static_cast<double>(texts_) / seconds_,
               static_cast<double>(tokens_) / seconds_);
    fmt::print(
        "memory      {:.1f} MB resident, {:.1f} of it mapped files; peak {:.1f} MB, while loading {:.1f} MB\n",
        memory_.resident_mb, memory_.file_mb, memory_.peak_mb, memory_at_load_.peak_mb);
    if (peak_gops_ > 0)
      fmt::print(
          "compute     {:.1f} GOP/s, {:.1f} % of the {:.0f} GOP/s measured here with {} threads at work\n",
          operations_ / 1e9 / seconds_, 100 * share_of_peak_, peak_gops_,
          session_->threads() * o_.engine.streams);
    for (size_t i = 0; o_.average_runs > 0 && i < latencies_.size();) {
      const size_t end = std::min(latencies_.size(), i + static_cast<size_t>(o_.average_runs));
      fmt::print("average of runs {} to {}: {:.3f} ms\n", i, end - 1,
                 latency_of({latencies_.begin() + static_cast<std::ptrdiff_t>(i),
                             latencies_.begin() + static_cast<std::ptrdiff_t>(end)})
                     .mean);
      i = end;
    }
  }

  /// GOP/s of step s, or 0.
  double step_gops(size_t s) const { return step_ms_[s] > 0 ? step_operations_[s] / 1e6 / step_ms_[s] : 0; }

  void print_profile() const {
    const std::vector<engine::PlanStep>& plan = session_->plan();
    double total = 0;
    for (const double ms : step_ms_) total += ms;
    std::vector<std::vector<std::string>> rows = {
        {"ms", "share", "GOP/s", "of peak", "kind", "kernel", "node"}};
    const auto add = [&](double ms, double operations, const std::string& kind, const std::string& kernel,
                         const std::string& name) {
      const double gops = ms > 0 ? operations / 1e6 / ms : 0;
      rows.push_back({fmt::format("{:.3f}", ms), fmt::format("{:.1f} %", 100 * ms / total),
                      operations > 0 ? fmt::format("{:.1f}", gops) : "",
                      operations > 0 && stream_peak_gops_ > 0
                          ? fmt::format("{:.1f} %", 100 * gops / stream_peak_gops_)
                          : "",
                      kind, kernel, name});
    };
    for (size_t s = 0; s < plan.size(); ++s)
      add(step_ms_[s], step_operations_[s], plan[s].kind, plan[s].kernel, plan[s].name);
    fmt::print("\nmean of {} profiled runs, each step:\n{}", profiled_runs_, table(rows, "rrrrlll"));
    rows.resize(1);
    rows[0].back() = "steps";
    std::vector<bool> done(plan.size());
    for (size_t s = 0; s < plan.size(); ++s) {
      if (done[s]) continue;
      double ms = 0, operations = 0;
      int count = 0;
      for (size_t t = s; t < plan.size(); ++t) {
        if (plan[t].kind != plan[s].kind || plan[t].kernel != plan[s].kernel) continue;
        done[t] = true;
        ms += step_ms_[t];
        operations += step_operations_[t];
        ++count;
      }
      add(ms, operations, plan[s].kind, plan[s].kernel, fmt::format("{}", count));
    }
    fmt::print("\ntogether, {:.3f} ms:\n{}", total, table(rows, "rrrrlll"));
  }

  Json report(const std::filesystem::path& file) const {
    Json json = {{"model", file.string()},
                 {"cpu", processor_name()},
                 {"isa", name_of(session_->isa())},
                 {"threads", session_->threads()},
                 {"streams", o_.engine.streams},
                 {"precision", o_.engine.precision},
                 {"packed", session_->packed()},
                 {"batch", o_.batch},
                 {"seq", o_.seq},
                 {"lengths", o_.lengths.empty() ? Json() : Json(o_.lengths)},
                 {"tokens_per_batch", o_.tokens_per_batch ? Json(*o_.tokens_per_batch) : Json()},
                 {"load_ms", load_ms_},
                 {"runs", latencies_.size()},
                 {"seconds", seconds_},
                 {"latency_ms", to_json(latency_of(latencies_))},
                 {"throughput_sequences_per_second", static_cast<double>(texts_) / seconds_},
                 {"throughput_tokens_per_second", static_cast<double>(tokens_) / seconds_},
                 {"gops", operations_ / 1e9 / seconds_},
                 {"peak_gops", peak_gops_ > 0 ? Json(peak_gops_) : Json()},
                 {"share_of_peak", peak_gops_ > 0 ? Json(share_of_peak_) : Json()},
                 {"resident_mb", memory_.resident_mb},
                 {"resident_file_mb", memory_.file_mb},
                 {"peak_rss_mb", memory_.peak_mb},
                 {"peak_rss_at_load_mb", memory_at_load_.peak_mb}};
    if (!o_.profile) return json;
    json["profile"] = Json::array();
    for (size_t s = 0; s < step_ms_.size(); ++s) {
      const engine::PlanStep& step = session_->plan()[s];
      const bool counts = step_operations_[s] > 0;
      json["profile"].push_back(
          {{"name", step.name},
           {"kind", step.kind},
           {"kernel", step.kernel},
           {"note", step.note},
           {"ms", step_ms_[s]},
           {"gops", counts ? Json(step_gops(s)) : Json()},
           {"share_of_peak",
            counts && stream_peak_gops_ > 0 ? Json(step_gops(s) / stream_peak_gops_) : Json()}});
    }
    return json;
  }

  BenchOptions o_;
  TerminalProgress progress_;
  std::optional<engine::Session> session_;
  std::vector<BenchBatch> batches_;
  double load_ms_ = 0, seconds_ = 0, operations_ = 0, peak_gops_ = 0, stream_peak_gops_ = 0,
         share_of_peak_ = 0;
  MemoryUse memory_, memory_at_load_;
  std::vector<double> latencies_;
  size_t texts_ = 0, tokens_ = 0;
  std::vector<double> step_ms_, step_operations_;
  int64_t profiled_runs_ = 0;
};

}  // namespace

int run_bench(const Arguments& arguments) {
  std::optional<BenchOptions> options = parse_bench(arguments);
  if (!options) return 0;
  Bench(std::move(*options)).run();
  return 0;
}

}  // namespace qdqbert::cli
