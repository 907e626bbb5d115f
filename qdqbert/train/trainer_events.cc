// What the training loop does between steps: log, evaluate, save, restore.
#include <cmath>
#include <cstring>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/nn/clip.h"
#include "qdqbert/train/checkpoint.h"
#include "qdqbert/train/trainer.h"

namespace qdqbert::train {

namespace fs = std::filesystem;

namespace {

constexpr JsonStyle kStateStyle{2, true, true, true};

double rounded(double value, int decimals) {
  return std::stod(fmt::format("{:.{}f}", value, decimals));
}

/// Whatever the order of keys.
bool differs(const Json& before, const Json& now, const char* key) {
  constexpr JsonStyle kSorted{-1, true, true, false};
  return before.contains(key) && dump_json(before.at(key), kSorted) != dump_json(now.at(key), kSorted);
}

DType dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return DType::kF32;
    case at::kLong:
      return DType::kI64;
    case at::kInt:
      return DType::kI32;
    case at::kBool:
      return DType::kBool;
    default:
      fail("[checkpoint] a tensor of type {} cannot be written", c10::toString(tensor.scalar_type()));
  }
}

/// Views of contiguous tensors, which `kept` owns.
std::vector<io::NamedTensor> views_of(const std::vector<nn::NamedTensor>& tensors,
                                      std::vector<at::Tensor>& kept) {
  std::vector<io::NamedTensor> views;
  for (const nn::NamedTensor& item : tensors) {
    kept.push_back(item.tensor.detach().cpu().contiguous());
    const at::Tensor& tensor = kept.back();
    views.push_back({item.name,
                     {dtype_of(tensor),
                      Shape(tensor.sizes().begin(), tensor.sizes().end()),
                      {static_cast<const std::byte*>(tensor.data_ptr()), tensor.nbytes()}}});
  }
  return views;
}

std::vector<nn::NamedTensor> floats_of(const io::SafetensorsFile& file) {
  std::vector<nn::NamedTensor> tensors;
  for (const io::NamedTensor& item : file.tensors()) {
    const std::vector<float> values = to_float32(item.tensor);
    at::Tensor tensor = at::empty(item.tensor.shape, at::kFloat);
    std::memcpy(tensor.data_ptr(), values.data(), values.size() * sizeof(float));
    tensors.push_back({item.name, tensor});
  }
  return tensors;
}

void load_model_weights(model::PreTrainedModel& model, const fs::path& directory) {
  const io::LoadReport report = model::load_weights(model, io::Checkpoint::open(directory));
  if (!report.missing.empty())
    fail("[resume] {} lacks {} of the model's tensors, the first is {}", directory.string(),
         report.missing.size(), report.missing.front());
}

/// So that a checkpoint says as a model what it has learned so far.
void store_learned_ranges(model::PreTrainedModel& model) {
  for (const model::NamedQuantizer& item : model.named_quantizers()) {
    const nn::Clip* clip = item.quantizer->clip_module();
    if (clip && !item.quantizer->disabled())
      item.quantizer->set_amax(at::maximum(-clip->clip_value_min, clip->clip_value_max).detach());
  }
}

}  // namespace

void Trainer::append_log(Json values) {
  values["epoch"] = rounded(state_.epoch, 2);
  values["step"] = state_.global_step;
  state_.log_history.push_back(std::move(values));
}

void Trainer::log_losses() {
  const int64_t steps = state_.global_step - state_.logged_step;
  if (steps == 0) return;
  const double mean = (state_.loss_sum - state_.logged_loss_sum) / static_cast<double>(steps);
  state_.logged_loss_sum = state_.loss_sum;
  state_.logged_step = state_.global_step;
  Json values;
  values["loss"] = rounded(mean, 4);
  values["grad_norm"] = last_norm_;
  values["learning_rate"] = schedule_.at(state_.global_step);
  append_log(values);
  log_info(
      "step {}/{}: loss {:.4f}, learning rate {:.3g}, gradient norm {:.3f}, epoch {:.2f}, {:.0f} tokens/s{}",
      state_.global_step, plan_.max_steps, mean, values["learning_rate"].get<double>(), last_norm_,
      state_.epoch, tokens_per_second_, memory_text());
  for (TrainingObserver* observer : hooks_.observers)
    observer->on_log(state_.global_step, state_.log_history.back());
  check_chance(mean, steps);
}

/// A model that answers as well as one that knows nothing, behind the warm-up and over
/// enough steps not to be chance itself.
void Trainer::check_chance(double mean_loss, int64_t steps) {
  constexpr int64_t kSteps = 20;
  constexpr double kShare = 0.97;
  const double chance = chance_batches_ > 0 ? chance_sum_ / static_cast<double>(chance_batches_) : 0;
  chance_sum_ = 0;
  chance_batches_ = 0;
  if (warned_of_chance_ || chance <= 0 || steps < kSteps || mean_loss < kShare * chance) return;
  if (state_.global_step < plan_.warmup_steps + kSteps) return;
  warned_of_chance_ = true;
  log_warning(
      "the loss over the last {} steps, {:.4f}, is that of a model that guesses ({:.4f}): a smaller "
      "--learning_rate, warm-up, or ranges from --do_calib may be needed",
      steps, mean_loss, chance);
}

void Trainer::evaluate(bool saved_next) {
  Json metrics;
  try {
    metrics = hooks_.evaluate();
  } catch (...) {
    save_before_stopping();
    throw;
  }
  state_.evaluation_due = false;
  Json values;
  for (const auto& [key, value] : metrics.items()) values["eval_" + key] = value;
  const bool wanted = options_.load_best_model_at_end || options_.early_stopping_patience;
  if (wanted && !(values.contains(metric_) && values.at(metric_).is_number())) {
    std::string names;
    for (const auto& [key, value] : values.items()) names += (names.empty() ? "" : ", ") + key;
    fail<UsageError>("[metric_for_best_model] {} is none of the metrics: {}", metric_, names);
  }
  append_log(values);
  std::string text;
  for (const auto& [key, value] : values.items())
    text +=
        fmt::format("{}{} {}", text.empty() ? "" : ", ", key,
                    value.is_number_float() ? fmt::format("{:.4f}", value.get<double>()) : dump_json(value));
  log_info("step {}/{}: {}", state_.global_step, plan_.max_steps, text);
  for (TrainingObserver* observer : hooks_.observers)
    observer->on_evaluate(state_.global_step, state_.log_history.back());
  if (!values.contains(metric_) || !values.at(metric_).is_number()) return;

  const double now = values.at(metric_).get<double>();
  const auto gain = [&] {
    return greater_is_better_ ? now - *state_.best_metric : *state_.best_metric - now;
  };
  const bool better = !state_.best_metric || gain() > 0;
  const bool counts = !state_.best_metric || (better && gain() > options_.early_stopping_threshold);
  state_.poor_evaluations = counts ? 0 : state_.poor_evaluations + 1;
  // The best model has to be among the checkpoints; what is not saved cannot be it.
  if (better && (saved_next || !options_.load_best_model_at_end)) {
    state_.best_metric = now;
    if (saved_next) state_.best_checkpoint = fmt::format("checkpoint-{}", state_.global_step);
  }
  if (options_.early_stopping_patience && state_.poor_evaluations >= *options_.early_stopping_patience) {
    log_info("{} evaluations without a better {}: training ends early", state_.poor_evaluations, metric_);
    stop_ = true;
  }
}

void Trainer::save() {
  if (!hooks_.group || hooks_.group->writes_files()) write_own_checkpoint();
  // Nobody reads or goes on before it is there.
  if (hooks_.group) hooks_.group->barrier();
}

void Trainer::write_own_checkpoint() {
  store_learned_ranges(model_);
  const fs::path directory =
      write_checkpoint(output_, state_.global_step, [&](const fs::path& place) { write_files(place); });
  log_info("saved {}", directory.string());
  if (options_.save_total_limit) {
    std::optional<fs::path> best;
    if (options_.load_best_model_at_end && state_.best_checkpoint) best = output_ / *state_.best_checkpoint;
    rotate_checkpoints(output_, *options_.save_total_limit, best);
  }
  for (TrainingObserver* observer : hooks_.observers) observer->on_checkpoint(state_.global_step, directory);
}

/// While another exception is on its way, which must not be lost.
void Trainer::save_before_stopping() {
  if (state_.global_step == 0 || (hooks_.group && !hooks_.group->writes_files())) return;
  try {
    settle();
    write_own_checkpoint();
    log_info("stopped at step {} of {}; the same command, without --overwrite_output_dir, goes on from there",
             state_.global_step, plan_.max_steps);
  } catch (const std::exception& error) {
    log_warning("the state at step {} could not be saved: {}", state_.global_step, error.what());
  }
}

void Trainer::write_files(const fs::path& directory) const {
  model::save_model(model_, directory);
  if (hooks_.save_extras) hooks_.save_extras(directory);
  std::vector<at::Tensor> kept;
  io::write_safetensors(directory / kOptimizerFile, views_of(optimizer_->state(), kept),
                        {{"steps", std::to_string(optimizer_->steps())}});
  Json arguments = options_.to_json();
  arguments["data"] = hooks_.identity;
  arguments["samples"] = plan_.samples;
  write_file(directory / kArgumentsFile, dump_json(arguments, kStateStyle));
  write_file(directory / kStateFile, dump_json(state_.to_json(options_, plan_), kStateStyle));
  Json resume = state_.resume_json();
  if (const LossScaler* scaler = device_steps_ ? device_steps_->scaler() : nullptr)
    resume["loss_scale"] = {{"scale", scaler->current_scale()},
                            {"good_steps", scaler->good_steps()},
                            {"optimizer_steps", optimizer_->steps()}};
  write_file(directory / kResumeFile, dump_json(resume, kStateStyle));
}

void Trainer::restore(const fs::path& directory) {
  if (const std::string fault = checkpoint_fault(directory); !fault.empty())
    fail("[resume_from_checkpoint] {}: {}", directory.string(), fault);
  Json now = options_.to_json();
  now["data"] = hooks_.identity;
  now["samples"] = plan_.samples;
  const Json before = read_json(directory / kArgumentsFile);
  // These decide which samples a batch holds and what a step is; with others nothing could be continued.
  for (const char* key : {"samples", "data", "per_device_train_batch_size", "gradient_accumulation_steps",
                          "processes", "seed", "shuffle", "dataloader_drop_last", "group_by_length", "optim"})
    if (differs(before, now, key))
      fail<UsageError>("[resume_from_checkpoint] {} was made with {} {}, now it is {}", directory.string(),
                       key, dump_json(before.at(key), {-1}), dump_json(now.at(key), {-1}));
  for (const char* key :
       {"learning_rate", "lr_scheduler_type", "num_train_epochs", "max_steps", "warmup_steps", "warmup_ratio",
        "weight_decay", "max_grad_norm", "bf16", "fp16", "label_smoothing_factor"})
    if (differs(before, now, key))
      log_warning("{} was {} before the interruption and is {} from here on", key,
                  dump_json(before.at(key), {-1}), dump_json(now.at(key), {-1}));

  const Json resume = read_json(directory / kResumeFile);
  state_ = TrainerState::from_json(read_json(directory / kStateFile), resume, directory.string());
  load_model_weights(model_, directory);
  const io::SafetensorsFile moments = io::SafetensorsFile::open(directory / kOptimizerFile);
  // Steps that an overflow left out are none of the optimizer's.
  int64_t steps = state_.global_step;
  if (const auto scale = resume.find("loss_scale"); scale != resume.end()) {
    steps = scale->value("optimizer_steps", steps);
    if (device_steps_ && device_steps_->scaler())
      device_steps_->scaler()->restore(scale->value("scale", 65536.0),
                                       scale->value("good_steps", int64_t{0}));
  }
  optimizer_->load_state(floats_of(moments), steps);
  if (options_.early_stopping_patience && state_.poor_evaluations >= *options_.early_stopping_patience)
    stop_ = true;
  log_info("Resuming from {}: step {} of {}, epoch {:.2f}", directory.string(), state_.global_step,
           plan_.max_steps, state_.epoch);
}

void Trainer::load_best() {
  if (!state_.best_checkpoint) {
    log_warning("--load_best_model_at_end: no evaluated checkpoint was saved; the last weights are kept");
    return;
  }
  const fs::path directory = output_ / *state_.best_checkpoint;
  if (const std::string fault = checkpoint_fault(directory); !fault.empty()) {
    log_warning("--load_best_model_at_end: {} cannot be read ({}); the last weights are kept",
                directory.string(), fault);
    return;
  }
  load_model_weights(model_, directory);
  log_info("The best model, {} {:.4f}, is that of {}", metric_, *state_.best_metric, directory.string());
}

void Trainer::refuse_batch(const Batch& batch, int64_t step, const std::string& what) {
  const fs::path file = output_ / fmt::format("failed-batch-step-{}.safetensors", step);
  std::vector<nn::NamedTensor> tensors;
  const auto keep = [&](const char* name, const at::Tensor& tensor) {
    if (tensor.defined()) tensors.push_back({name, tensor});
  };
  const model::ModelInputs& inputs = batch.inputs;
  keep("input_ids", inputs.input_ids);
  keep("attention_mask", inputs.attention_mask);
  keep("token_type_ids", inputs.token_type_ids);
  keep("labels", inputs.labels);
  keep("start_positions", inputs.start_positions);
  keep("end_positions", inputs.end_positions);
  keep("next_sentence_label", inputs.next_sentence_label);
  std::string kept = file.string();
  try {
    std::vector<at::Tensor> owners;
    io::write_safetensors(file, views_of(tensors, owners), {{"step", std::to_string(step)}});
  } catch (const std::exception& error) {
    kept = fmt::format("nowhere ({})", error.what());
  }
  const std::optional<fs::path> last = last_checkpoint(output_);
  fail<Error>("[training] step {}: {}; the batch is kept in {}, {}", step, what, kept,
              last ? fmt::format("the last checkpoint is {}", last->string()) : "there is no checkpoint yet");
}

}  // namespace qdqbert::train
