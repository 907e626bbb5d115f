// What every verb does around a training run: where it begins, what is looked
// at first, what is written at the end.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "qdqbert/text/tokenizer.h"
#include "qdqbert/train/quant_trainer.h"
#include "qdqbert/train/trainer.h"

#include "cli/terminal.h"
#include "cli/training_options.h"

namespace qdqbert::cli {

/// What a training writes into its output directory before its first checkpoint: the page to look at, and
/// TensorBoard's event files where --logging_dir names no other place.
inline constexpr const char *kReportFile = "training_report.html", *kEventsFolder = "runs";

/// Before anything is loaded, as the original's script does first: the checkpoint to go on from,
/// nullopt for a run from the beginning. Throws UsageError when `output` holds no checkpoint
/// but other files than kReportFile and kEventsFolder and `overwrite` is not set; with it,
/// checkpoints of an earlier run are removed.
std::optional<std::filesystem::path> checkpoint_to_resume(const std::filesystem::path& output,
                                                          const TrainingFlags& flags, bool overwrite);

/// Applies --freeze and warns about what rarely ends well: quantizers without ranges, a learning
/// rate for fine-tuning under quantization.
void prepare_model(model::PreTrainedModel& model, const TrainingFlags& flags);

/// A loss that follows --teacher, nullptr without it; keeps the teacher alive. Throws UsageError for a
/// teacher that does not fit `model` or `tokenizer`.
std::function<at::Tensor(const model::ModelInputs&)> distillation_loss(
    model::PreTrainedModel& model, const text::Tokenizer& tokenizer, const TrainingFlags& flags,
    const std::filesystem::path& teacher_directory);

/// Shows loss, learning rate and tokens per second beside the progress of `terminal`.
class ProgressDetail : public train::TrainingObserver {
 public:
  explicit ProgressDetail(TerminalProgress& terminal) : terminal_(terminal) {}
  void on_step(const train::StepReport& report) override;
  void on_end(const Json& metrics) override;

 private:
  TerminalProgress& terminal_;
};

/// A copy of the model whose activation quantizers train their ranges, beginning with the stored ones. Throws
/// InputError naming a quantizer that has none. `defaults`: what the model was built with.
std::shared_ptr<model::PreTrainedModel> with_learned_ranges(const model::PreTrainedModel& model,
                                                            nn::QuantDefaults defaults);
/// The way back: learned ranges become stored ones.
std::shared_ptr<model::PreTrainedModel> with_fixed_ranges(const model::PreTrainedModel& model,
                                                          const nn::QuantDefaults& defaults);

/// Keeps learned ranges from changing after a share of the run.
class RangeFreezer : public train::TrainingObserver {
 public:
  RangeFreezer(model::PreTrainedModel& model, double share) : model_(model), share_(share) {}
  void before_step(int64_t step, int64_t max_steps) override;

 private:
  model::PreTrainedModel& model_;
  double share_;
  bool frozen_ = false;
};

/// train_results.json, all_results.json, trainer_state.json and training_args.json, and the block on the
/// console. `samples`: as the original counts them.
void write_training_results(const std::filesystem::path& output, const train::Trainer& trainer,
                            const train::TrainerOptions& options, const train::TrainingResult& result,
                            int64_t samples);

}  // namespace qdqbert::cli
