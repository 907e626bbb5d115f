// The flags of --do_train, the same for every task.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "qdqbert/train/distillation.h"
#include "qdqbert/train/trainer_options.h"

#include "cli/arguments.h"

namespace qdqbert::cli {

struct TrainingFlags {
  int64_t per_device_train_batch_size = 8;
  double learning_rate = 5e-5, num_train_epochs = 3, warmup_ratio = 0, weight_decay = 0, adam_beta1 = 0.9,
         adam_beta2 = 0.999, adam_epsilon = 1e-8, max_grad_norm = 1, label_smoothing_factor = 0;
  int64_t max_steps = -1, warmup_steps = 0, gradient_accumulation_steps = 1, save_steps = 500,
          logging_steps = 500, dataloader_num_workers = 0;
  std::optional<int64_t> eval_steps, save_total_limit, early_stopping_patience;
  double early_stopping_threshold = 0;
  std::string lr_scheduler_type = "linear", save_strategy = "steps", evaluation_strategy = "no",
              logging_strategy = "steps", optim = "adamw_torch";
  std::optional<std::string> resume_from_checkpoint, metric_for_best_model;
  std::vector<std::string> greater_is_better;
  bool dataloader_drop_last = false, gradient_checkpointing = false, remove_unused_columns = true,
       group_by_length = false, load_best_model_at_end = false, logging_first_step = false;
  std::vector<std::string> freeze;
  std::string report_to = "all";
  std::optional<std::string> logging_dir;

  std::optional<std::string> teacher;
  std::optional<double> teacher_temperature, distill_alpha, distill_hidden, distill_attention;
  std::vector<std::string> distill_layers;
  bool learn_amax = false;
  std::optional<double> freeze_amax_after;
};

/// Adds the flags under their own headings of --help. `flags` holds the defaults.
void add_training_flags(ArgumentParser& parser, TrainingFlags& flags);

/// Throws UsageError for words that are unknown, values that are impossible and flags that contradict each
/// other. `seed` is a flag of every verb; so are --fp16 and --bf16, whose meaning depends on the device.
train::TrainerOptions trainer_options(const TrainingFlags& flags, int64_t seed);
/// nullopt without --teacher.
std::optional<train::DistillationOptions> distillation_options(const TrainingFlags& flags);

}  // namespace qdqbert::cli
