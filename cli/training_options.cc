#include "cli/training_options.h"

#include <charconv>

#include "qdqbert/base/error.h"

namespace qdqbert::cli {

void add_training_flags(ArgumentParser& parser, TrainingFlags& t) {
  parser.group("training");
  parser.add("per_device_train_batch_size", t.per_device_train_batch_size, "samples of a training batch");
  parser.add("gradient_accumulation_steps", t.gradient_accumulation_steps, "batches per optimizer step");
  parser.add("num_train_epochs", t.num_train_epochs, "passes over the data, fractions allowed");
  parser.add("max_steps", t.max_steps, "optimizer steps, instead of epochs");
  parser.add(
      "learning_rate", t.learning_rate,
      "peak learning rate: 2e-5 to 5e-5 for fine-tuning, 1e-6 to 4e-5 for quantization-aware training");
  parser.add_choice("lr_scheduler_type", t.lr_scheduler_type, train::schedule_names(),
                    "learning rate schedule");
  parser.add("warmup_steps", t.warmup_steps, "steps of linear warm-up");
  parser.add("warmup_ratio", t.warmup_ratio, "the same as a share of all steps");
  parser.add_choice("optim", t.optim, {"adamw_torch", "adamw_torch_fused", "adamw_hf"},
                    "optimizer: PyTorch's AdamW, or the original library's own one (adamw_hf)");
  parser.add("weight_decay", t.weight_decay, "not on biases and LayerNorm");
  parser.add("adam_beta1", t.adam_beta1, "decay of the first moment");
  parser.add("adam_beta2", t.adam_beta2, "decay of the second moment");
  parser.add("adam_epsilon", t.adam_epsilon, "added to the root of the second moment");
  parser.add("max_grad_norm", t.max_grad_norm, "clip gradients to this norm; 0: do not");
  parser.add("label_smoothing_factor", t.label_smoothing_factor,
             "for tasks with class labels; no effect in question answering");
  parser.add("freeze", t.freeze, "parameters whose name matches one of these expressions are not trained");
  parser.add("group_by_length", t.group_by_length, "batches of samples of similar length");
  parser.add("gradient_checkpointing", t.gradient_checkpointing,
             "compute layers again in the backward pass: a third slower, far less memory");
  parser.add("dataloader_drop_last", t.dataloader_drop_last, "leave out a last smaller batch");
  parser.add("dataloader_num_workers", t.dataloader_num_workers,
             "accepted; batches are made in microseconds, on the training thread");
  parser.add("remove_unused_columns", t.remove_unused_columns, "accepted; must stay true");

  parser.group("watching, saving and resuming");
  parser.add_choice("logging_strategy", t.logging_strategy, {"no", "steps", "epoch"},
                    "when losses are logged");
  parser.add("logging_steps", t.logging_steps, "steps between log lines");
  parser.add_choice("report_to", t.report_to, {"all", "tensorboard", "none"},
                    "event files for TensorBoard besides training_report.html");
  parser.add("logging_dir", t.logging_dir, "where event files go (default OUTPUT_DIR/runs)");
  parser.add("logging_first_step", t.logging_first_step, "log the first step, too");
  parser.add_choice("evaluation_strategy", t.evaluation_strategy, {"no", "steps", "epoch"},
                    "when to evaluate during training");
  parser.add_choice("eval_strategy", t.evaluation_strategy, {"no", "steps", "epoch"},
                    "newer name of --evaluation_strategy");
  parser.add("eval_steps", t.eval_steps, "steps between evaluations (default: --logging_steps)");
  parser.add_choice("save_strategy", t.save_strategy, {"no", "steps", "epoch"},
                    "when checkpoints are written");
  parser.add("save_steps", t.save_steps, "steps between checkpoints; 0: none");
  parser.add("save_total_limit", t.save_total_limit, "checkpoints to keep; the best one stays");
  parser.add("load_best_model_at_end", t.load_best_model_at_end, "end with the best evaluated checkpoint");
  parser.add("metric_for_best_model", t.metric_for_best_model, "what is best, e.g. f1");
  parser.add("greater_is_better", t.greater_is_better,
             "true or false (default: true unless the metric's name ends in loss)");
  parser.add("early_stopping_patience", t.early_stopping_patience,
             "end after this many evaluations without improvement");
  parser.add("early_stopping_threshold", t.early_stopping_threshold, "smallest change that counts as one");
  parser.add("resume_from_checkpoint", t.resume_from_checkpoint,
             "checkpoint directory to go on from (default: the last one in --output_dir)");

  parser.group("distillation and learned ranges");
  parser.add("teacher", t.teacher, "directory or name of a trained model of the same task, used in float");
  parser.add("teacher_temperature", t.teacher_temperature, "softens both answers (default 2)");
  parser.add("distill_alpha", t.distill_alpha, "share of the teacher's answers in the loss (default 0.5)");
  parser.add("distill_hidden", t.distill_hidden, "weight of the difference between hidden states");
  parser.add("distill_attention", t.distill_attention,
             "weight of the difference between attention probabilities");
  parser.add("distill_layers", t.distill_layers,
             "pairs STUDENT:TEACHER of layers, from 0 (default: spread evenly over the teacher)");
  parser.add_switch("learn-amax", t.learn_amax, "train the ranges of activations together with the weights");
  parser.add("freeze_amax_after", t.freeze_amax_after,
             "with --learn-amax: share of the run after which ranges stay");
}

namespace {

int64_t layer_number(std::string_view text, const std::string& pair) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < 0)
    fail<UsageError>("[distill_layers] {} is not STUDENT:TEACHER, two layer numbers from 0", pair);
  return value;
}

std::optional<bool> truth(const std::vector<std::string>& words) {
  if (words.empty()) return std::nullopt;
  if (words.size() == 1 && (words[0] == "true" || words[0] == "True" || words[0] == "1")) return true;
  if (words.size() == 1 && (words[0] == "false" || words[0] == "False" || words[0] == "0")) return false;
  fail<UsageError>("[greater_is_better] {} is neither true nor false", words[0]);
}

}  // namespace

train::TrainerOptions trainer_options(const TrainingFlags& t, int64_t seed) {
  if (!t.remove_unused_columns)
    fail<UsageError>("[remove_unused_columns] false would hand text to the model; it must stay true");
  if (t.freeze_amax_after) {
    if (!t.learn_amax)
      fail<UsageError>("[freeze_amax_after] needs --learn-amax: fixed ranges are never trained");
    if (!(*t.freeze_amax_after >= 0 && *t.freeze_amax_after <= 1))
      fail<UsageError>("[freeze_amax_after] {} is not a share between 0 and 1", *t.freeze_amax_after);
  }
  train::TrainerOptions o;
  o.batch_size = t.per_device_train_batch_size;
  o.accumulation_steps = t.gradient_accumulation_steps;
  o.num_train_epochs = t.num_train_epochs;
  o.max_steps = t.max_steps;
  o.learning_rate = t.learning_rate;
  o.schedule = train::parse_schedule(t.lr_scheduler_type);
  o.warmup_steps = t.warmup_steps;
  o.warmup_ratio = t.warmup_ratio;
  o.adam.variant = t.optim == "adamw_hf" ? train::AdamVariant::kLibrary : train::AdamVariant::kTorch;
  o.adam.beta1 = t.adam_beta1;
  o.adam.beta2 = t.adam_beta2;
  o.adam.epsilon = t.adam_epsilon;
  o.adam.weight_decay = t.weight_decay;
  o.max_grad_norm = t.max_grad_norm;
  o.label_smoothing_factor = t.label_smoothing_factor;
  o.seed = static_cast<uint64_t>(seed);
  o.drop_last = t.dataloader_drop_last;
  o.group_by_length = t.group_by_length;
  o.gradient_checkpointing = t.gradient_checkpointing;
  o.logging = train::parse_interval("logging_strategy", t.logging_strategy);
  o.logging_steps = t.logging_steps;
  o.logging_first_step = t.logging_first_step;
  o.evaluation = train::parse_interval("evaluation_strategy", t.evaluation_strategy);
  o.eval_steps = t.eval_steps.value_or(t.logging_steps);
  o.saving = train::parse_interval("save_strategy", t.save_strategy);
  o.save_steps = t.save_steps;
  o.save_total_limit = t.save_total_limit;
  o.load_best_model_at_end = t.load_best_model_at_end;
  o.metric_for_best_model = t.metric_for_best_model;
  o.greater_is_better = truth(t.greater_is_better);
  o.early_stopping_patience = t.early_stopping_patience;
  o.early_stopping_threshold = t.early_stopping_threshold;
  o.validate();
  distillation_options(t);
  return o;
}

std::optional<train::DistillationOptions> distillation_options(const TrainingFlags& t) {
  if (!t.teacher) {
    const char* alone = t.teacher_temperature       ? "teacher_temperature"
                        : t.distill_alpha           ? "distill_alpha"
                        : t.distill_hidden          ? "distill_hidden"
                        : t.distill_attention       ? "distill_attention"
                        : !t.distill_layers.empty() ? "distill_layers"
                                                    : nullptr;
    if (alone) fail<UsageError>("[{}] needs --teacher DIR: without a teacher it has no effect", alone);
    return std::nullopt;
  }
  if (t.label_smoothing_factor > 0)
    fail<UsageError>(
        "[label_smoothing_factor] and --teacher exclude each other: a teacher's answers are soft already");
  train::DistillationOptions o;
  o.temperature = t.teacher_temperature.value_or(o.temperature);
  o.alpha = t.distill_alpha.value_or(o.alpha);
  o.hidden_weight = t.distill_hidden.value_or(0);
  o.attention_weight = t.distill_attention.value_or(0);
  for (const std::string& pair : t.distill_layers) {
    const std::string_view text = pair;
    const size_t colon = text.find(':');
    if (colon == std::string_view::npos) layer_number("", pair);
    o.layers.emplace_back(layer_number(text.substr(0, colon), pair),
                          layer_number(text.substr(colon + 1), pair));
  }
  o.validate();
  return o;
}

}  // namespace qdqbert::cli
