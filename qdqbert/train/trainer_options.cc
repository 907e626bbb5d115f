#include "qdqbert/train/trainer_options.h"

#include <algorithm>
#include <cmath>

#include "qdqbert/base/error.h"

namespace qdqbert::train {

std::string_view name_of(Interval interval) {
  switch (interval) {
    case Interval::kSteps:
      return "steps";
    case Interval::kEpoch:
      return "epoch";
    case Interval::kNo:
      break;
  }
  return "no";
}

Interval parse_interval(std::string_view flag, std::string_view word) {
  for (const Interval interval : {Interval::kNo, Interval::kSteps, Interval::kEpoch})
    if (name_of(interval) == word) return interval;
  fail<UsageError>("[{}] {} is not one of no, steps, epoch", flag, word);
}

void TrainerOptions::validate() const {
  const auto at_least = [](std::string_view flag, int64_t value, int64_t least) {
    if (value < least) fail<UsageError>("[{}] {}; at least {} is needed", flag, value, least);
  };
  const auto in_range = [](std::string_view flag, double value, double low, double high) {
    if (!(value >= low && value < high))
      fail<UsageError>("[{}] {} is outside of [{}, {})", flag, value, low, high);
  };
  at_least("per_device_train_batch_size", batch_size, 1);
  at_least("gradient_accumulation_steps", accumulation_steps, 1);
  if (max_steps == 0 || max_steps < -1)
    fail<UsageError>("[max_steps] {}; give a positive number, or -1 for --num_train_epochs", max_steps);
  if (max_steps < 0 && !(num_train_epochs > 0 && std::isfinite(num_train_epochs)))
    fail<UsageError>("[num_train_epochs] {} is not positive", num_train_epochs);
  if (!(learning_rate > 0 && std::isfinite(learning_rate)))
    fail<UsageError>("[learning_rate] {} is not positive", learning_rate);
  at_least("warmup_steps", warmup_steps, 0);
  in_range("warmup_ratio", warmup_ratio, 0, std::nextafter(1.0, 2.0));
  in_range("adam_beta1", adam.beta1, 0, 1);
  in_range("adam_beta2", adam.beta2, 0, 1);
  in_range("label_smoothing_factor", label_smoothing_factor, 0, 1);
  if (!(adam.epsilon >= 0)) fail<UsageError>("[adam_epsilon] {} is negative", adam.epsilon);
  if (!(adam.weight_decay >= 0)) fail<UsageError>("[weight_decay] {} is negative", adam.weight_decay);
  if (std::isnan(max_grad_norm)) fail<UsageError>("[max_grad_norm] is not a number");
  if (logging == Interval::kSteps) at_least("logging_steps", logging_steps, 1);
  if (evaluation == Interval::kSteps) at_least("eval_steps", eval_steps, 1);
  if (saving == Interval::kSteps) at_least("save_steps", save_steps, 0);
  if (save_total_limit) at_least("save_total_limit", *save_total_limit, 1);
  if (early_stopping_patience) at_least("early_stopping_patience", *early_stopping_patience, 1);
  if (!(early_stopping_threshold >= 0))
    fail<UsageError>("[early_stopping_threshold] {} is negative", early_stopping_threshold);
  if ((load_best_model_at_end || early_stopping_patience) && evaluation == Interval::kNo)
    fail<UsageError>("[{}] needs evaluations during training: give --evaluation_strategy steps or epoch",
                     load_best_model_at_end ? "load_best_model_at_end" : "early_stopping_patience");
  if (group_by_length && !shuffle) fail<UsageError>("[group_by_length] needs samples in random order");
  if (load_best_model_at_end) {
    if (saving != evaluation)
      fail<UsageError>(
          "[load_best_model_at_end] --save_strategy {} and --evaluation_strategy {} must be the same, so "
          "that the best model is among the checkpoints",
          name_of(saving), name_of(evaluation));
    if (saving == Interval::kSteps && (save_steps == 0 || save_steps % eval_steps != 0))
      fail<UsageError>(
          "[load_best_model_at_end] --save_steps {} must be a multiple of --eval_steps {}, so that the "
          "best model is among the checkpoints",
          save_steps, eval_steps);
  }
}

Json TrainerOptions::to_json() const {
  Json json = {
      {"per_device_train_batch_size", batch_size},
      {"processes", processes},
      {"gradient_accumulation_steps", accumulation_steps},
      {"num_train_epochs", num_train_epochs},
      {"max_steps", max_steps},
      {"learning_rate", learning_rate},
      {"lr_scheduler_type", name_of(schedule)},
      {"warmup_steps", warmup_steps},
      {"warmup_ratio", warmup_ratio},
      {"optim", adam.variant == AdamVariant::kTorch ? "adamw_torch" : "adamw_hf"},
      {"weight_decay", adam.weight_decay},
      {"adam_beta1", adam.beta1},
      {"adam_beta2", adam.beta2},
      {"adam_epsilon", adam.epsilon},
      {"max_grad_norm", max_grad_norm},
      {"label_smoothing_factor", label_smoothing_factor},
      {"seed", seed},
      {"shuffle", shuffle},
      {"dataloader_drop_last", drop_last},
      {"group_by_length", group_by_length},
      {"gradient_checkpointing", gradient_checkpointing},
      {"bf16", bf16},
      {"fp16", fp16},
      {"logging_strategy", name_of(logging)},
      {"logging_steps", logging_steps},
      {"logging_first_step", logging_first_step},
      {"evaluation_strategy", name_of(evaluation)},
      {"eval_steps", eval_steps},
      {"save_strategy", name_of(saving)},
      {"save_steps", save_steps},
      {"save_total_limit", save_total_limit ? Json(*save_total_limit) : Json()},
      {"load_best_model_at_end", load_best_model_at_end},
      {"metric_for_best_model", metric_for_best_model ? Json(*metric_for_best_model) : Json()},
      {"greater_is_better", greater_is_better ? Json(*greater_is_better) : Json()},
      {"early_stopping_patience", early_stopping_patience ? Json(*early_stopping_patience) : Json()},
      {"early_stopping_threshold", early_stopping_threshold},
  };
  return json;
}

RunPlan RunPlan::make(const TrainerOptions& options, int64_t samples) {
  RunPlan plan;
  plan.samples = samples;
  if (samples < 1) fail("[training] there is no sample to train on");
  const int64_t batch = options.global_batch_size(), whole = samples / batch;
  // Every process needs a sample, so a rest of fewer is left out.
  const bool has_rest = !options.drop_last && samples % batch >= options.processes;
  plan.batches_per_epoch = whole + (has_rest ? 1 : 0);
  if (plan.batches_per_epoch == 0)
    fail("[training] {} leaves nothing: {} samples are less than {}",
         options.drop_last ? "--dataloader_drop_last" : "one sample a process", samples,
         options.drop_last ? fmt::format("a batch of {}", batch)
                           : fmt::format("{} processes", options.processes));
  const int64_t steps_per_epoch = std::max<int64_t>(1, plan.batches_per_epoch / options.accumulation_steps);
  if (options.max_steps > 0) {
    plan.max_steps = options.max_steps;
    plan.epochs = (options.max_steps + steps_per_epoch - 1) / steps_per_epoch;
  } else {
    plan.max_steps =
        static_cast<int64_t>(std::ceil(options.num_train_epochs * static_cast<double>(steps_per_epoch)));
    plan.epochs = static_cast<int64_t>(std::ceil(options.num_train_epochs));
  }
  plan.warmup_steps =
      options.warmup_steps > 0
          ? options.warmup_steps
          : static_cast<int64_t>(std::ceil(static_cast<double>(plan.max_steps) * options.warmup_ratio));
  return plan;
}

bool RunPlan::steps_after(int64_t micro_step, int64_t accumulation_steps) const {
  const bool last_of_short_epoch =
      batches_per_epoch <= accumulation_steps && (micro_step + 1) % batches_per_epoch == 0;
  return (micro_step + 1) % accumulation_steps == 0 || last_of_short_epoch;
}

}  // namespace qdqbert::train
