#include "qdqbert/train/training_watch.h"

#include <array>
#include <ctime>
#include <map>

#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

namespace qdqbert::train {
namespace {

/// "Nov21_14-03-59_host", as the original's library names runs.
std::string run_name() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  std::array<char, 32> time{};
  std::strftime(time.data(), time.size(), "%b%d_%H-%M-%S", &local);
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host = {'h', 'o', 's', 't'};
  return fmt::format("{}_{}", time.data(), host.data());
}

/// "eval_f1" becomes "eval/f1", everything else "train/...".
std::string tag_of(const std::string& key) {
  return key.starts_with("eval_") ? "eval/" + key.substr(5) : "train/" + key;
}

report::Series series_of(const Json& log, const std::string& key, const std::string& name) {
  report::Series series{name, {}};
  for (const Json& entry : log)
    if (entry.contains(key) && entry.at(key).is_number())
      series.points.emplace_back(entry.at("step").get<double>(), entry.at(key).get<double>());
  return series;
}

bool is_empty(const report::Chart& chart) {
  for (const report::Series& series : chart.series)
    if (!series.points.empty()) return false;
  return true;
}

report::Table table_of(const std::vector<RangeUse>& before, const std::vector<RangeUse>& after) {
  report::Table table{"Ranges before and after",
                      {"quantizer", "amax before", "amax after", "largest before", "largest after",
                       "clipped before", "clipped after"},
                      {}};
  std::map<std::string, const RangeUse*> later;
  for (const RangeUse& use : after) later[use.quantizer] = &use;
  for (const RangeUse& use : before) {
    const RangeUse* now = later.contains(use.quantizer) ? later.at(use.quantizer) : nullptr;
    const auto number = [&](double RangeUse::*field, const RangeUse* of, const char* format, double factor) {
      return of ? fmt::format(fmt::runtime(format), of->*field * factor) : std::string();
    };
    table.rows.push_back(
        {use.quantizer, number(&RangeUse::amax, &use, "{:.4f}", 1), number(&RangeUse::amax, now, "{:.4f}", 1),
         number(&RangeUse::largest, &use, "{:.4f}", 1), number(&RangeUse::largest, now, "{:.4f}", 1),
         number(&RangeUse::clipped_share, &use, "{:.4f} %", 100),
         number(&RangeUse::clipped_share, now, "{:.4f} %", 100)});
  }
  return table;
}

}  // namespace

TrainingWatch::TrainingWatch(Places places, std::vector<std::pair<std::string, std::string>> facts)
    : places_(std::move(places)), facts_(std::move(facts)) {}

template <class Work>
void TrainingWatch::guarded(Work&& work) {
  try {
    work();
  } catch (const Error& error) {
    if (!std::exchange(warned_, true)) log_warning("{}; training goes on", error.what());
  }
}

void TrainingWatch::on_start(const TrainerState& state, const RunPlan& plan) {
  log_ = state.log_history;
  facts_.emplace_back("plan", fmt::format("{} samples, {} optimizer steps, {} of them warm-up", plan.samples,
                                          plan.max_steps, plan.warmup_steps));
  guarded([&] {
    if (places_.events) events_.emplace(*places_.events / run_name());
  });
}

void TrainingWatch::on_step(const StepReport& report) {
  const auto step = static_cast<double>(report.step);
  losses_.points.emplace_back(step, report.loss);
  tokens_.points.emplace_back(step, report.tokens_per_second);
}

void TrainingWatch::add(int64_t step, const Json& values) {
  log_.push_back(values);
  guarded([&] {
    if (!events_) return;
    for (const auto& [key, value] : values.items())
      if (key != "step" && value.is_number()) events_->add_scalar(tag_of(key), step, value.get<double>());
  });
}

void TrainingWatch::on_log(int64_t step, const Json& values) {
  add(step, values);
}

void TrainingWatch::on_evaluate(int64_t step, const Json& metrics) {
  add(step, metrics);
  write_page();
}

void TrainingWatch::on_checkpoint(int64_t, const std::filesystem::path&) {
  write_page();
}

void TrainingWatch::on_end(const Json& metrics) {
  for (const auto& [key, value] : metrics.items()) facts_.emplace_back(key, dump_json(value));
  write_page();
}

void TrainingWatch::set_ranges_after(std::vector<RangeUse> uses) {
  after_ = std::move(uses);
  write_page();
}

void TrainingWatch::write_page() {
  report::Page page;
  page.title = "Training";
  page.facts = facts_;
  std::vector<report::Chart> charts = {
      {"Loss", "step", {losses_, series_of(log_, "loss", "logged mean")}, false},
      {"Learning rate", "step", {series_of(log_, "learning_rate", "learning rate")}, false},
      {"Gradient norm before clipping", "step", {series_of(log_, "grad_norm", "gradient norm")}, true},
      {"Speed", "step", {tokens_}, false}};
  std::vector<std::string> metrics;
  for (const Json& entry : log_)
    for (const auto& [key, value] : entry.items())
      if (key.starts_with("eval_") && value.is_number() &&
          std::find(metrics.begin(), metrics.end(), key) == metrics.end())
        metrics.push_back(key);
  for (const std::string& key : metrics)
    charts.push_back({key, "step", {series_of(log_, key, key.substr(5))}, false});
  for (report::Chart& chart : charts)
    if (!is_empty(chart)) page.charts.push_back(std::move(chart));
  if (!before_.empty()) page.tables.push_back(table_of(before_, after_));
  guarded([&] { write_file(places_.page, report::html(page)); });
}

}  // namespace qdqbert::train
