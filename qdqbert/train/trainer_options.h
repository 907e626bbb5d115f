// What a training run is asked to do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "qdqbert/base/json.h"
#include "qdqbert/train/optimizer.h"
#include "qdqbert/train/schedule.h"

namespace qdqbert::train {

/// When something happens again: never, every so many optimizer steps, after every pass over the data.
enum class Interval { kNo, kSteps, kEpoch };
std::string_view name_of(Interval interval);  ///< "no", "steps", "epoch"
/// Throws UsageError naming `flag` for any other word.
Interval parse_interval(std::string_view flag, std::string_view word);

struct TrainerOptions {
  int64_t batch_size = 8;
  int64_t processes = 1;           ///< each has batch_size samples of a batch
  int64_t accumulation_steps = 1;  ///< batches of an optimizer step
  double num_train_epochs = 3;
  int64_t max_steps = -1;  ///< positive: instead of epochs
  double learning_rate = 5e-5;
  ScheduleType schedule = ScheduleType::kLinear;
  int64_t warmup_steps = 0;
  double warmup_ratio = 0;  ///< of all steps, when warmup_steps is 0
  AdamOptions adam;
  double max_grad_norm = 1;  ///< not positive: no clipping
  double label_smoothing_factor = 0;
  uint64_t seed = 42;
  bool shuffle = true;  ///< false: samples in their own order in every pass
  bool drop_last = false;
  bool group_by_length = false;
  bool gradient_checkpointing = false;
  bool bf16 = false;  ///< products in BF16 (nn/autocast.h)
  bool fp16 = false;  ///< products in FP16 and a scaled loss; on a GPU only

  Interval logging = Interval::kSteps;
  int64_t logging_steps = 500;
  bool logging_first_step = false;
  Interval evaluation = Interval::kNo;
  int64_t eval_steps = 500;
  Interval saving = Interval::kSteps;
  int64_t save_steps = 500;                 ///< 0: no checkpoints
  std::optional<int64_t> save_total_limit;  ///< older checkpoints are removed, never the best one

  bool load_best_model_at_end = false;
  std::optional<std::string> metric_for_best_model;  ///< with or without "eval_"; default: the task's
  std::optional<bool> greater_is_better;             ///< default: unless the metric's name ends in "loss"
  std::optional<int64_t> early_stopping_patience;    ///< evaluations without improvement
  double early_stopping_threshold = 0;               ///< smallest change that counts as one

  /// Throws UsageError for values that are impossible or contradict each other, with the flags' names.
  void validate() const;
  int64_t global_batch_size() const { return batch_size * processes; }
  /// Under the names of the flags, for training_args.json.
  Json to_json() const;
};

/// How a run is divided, as the original's library counts.
struct RunPlan {
  int64_t samples = 0;
  int64_t batches_per_epoch = 0;
  int64_t epochs = 0;     ///< passes that are begun
  int64_t max_steps = 0;  ///< optimizer steps
  int64_t warmup_steps = 0;

  /// Throws InputError when there is no sample or drop_last leaves no batch.
  static RunPlan make(const TrainerOptions& options, int64_t samples);
  /// Whether the optimizer steps after batch `micro_step` (from 0, over all passes).
  bool steps_after(int64_t micro_step, int64_t accumulation_steps) const;
};

}  // namespace qdqbert::train
