// What a person looks at while and after a model trains: TensorBoard event files and one HTML page.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "qdqbert/report/event_file.h"
#include "qdqbert/report/page.h"
#include "qdqbert/train/range_use.h"
#include "qdqbert/train/trainer.h"

namespace qdqbert::train {

/// Writes scalars under the names that the original's library gives them (train/loss, train/learning_rate,
/// train/grad_norm, eval/f1, ...) as they come, and the page again with every evaluation, checkpoint and at
/// the end. A failing disk never ends the training: it is a warning, once.
class TrainingWatch : public TrainingObserver {
 public:
  struct Places {
    std::optional<std::filesystem::path> events;  ///< directory; an own one inside is made for this run
    std::filesystem::path page;
  };
  /// `facts`: what stands at the top of the page.
  TrainingWatch(Places places, std::vector<std::pair<std::string, std::string>> facts);

  void set_ranges_before(std::vector<RangeUse> uses) { before_ = std::move(uses); }
  /// Also writes the page.
  void set_ranges_after(std::vector<RangeUse> uses);

  void on_start(const TrainerState& state, const RunPlan& plan) override;
  void on_step(const StepReport& report) override;
  void on_log(int64_t step, const Json& values) override;
  void on_evaluate(int64_t step, const Json& metrics) override;
  void on_checkpoint(int64_t step, const std::filesystem::path& directory) override;
  void on_end(const Json& metrics) override;

 private:
  void add(int64_t step, const Json& values);
  void write_page();
  template <class Work>
  void guarded(Work&& work);

  Places places_;
  std::vector<std::pair<std::string, std::string>> facts_;
  std::optional<report::EventFile> events_;
  Json log_ = Json::array();
  report::Series tokens_{"tokens/s", {}}, losses_{"each step", {}};
  std::vector<RangeUse> before_, after_;
  bool warned_ = false;
};

}  // namespace qdqbert::train
