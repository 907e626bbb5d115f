#include "qdqbert/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "qdqbert/base/error.h"
#include "qdqbert/nn/autocast.h"
#include "qdqbert/nn/dropout.h"
#include "qdqbert/train/checkpoint.h"
#include "qdqbert/train/device.h"
#include "qdqbert/train/label_smoothing.h"
#include "qdqbert/train/sampling.h"

namespace qdqbert::train {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double rounded(double value, int decimals) {
  return std::stod(fmt::format("{:.{}f}", value, decimals));
}

/// Weights that multiply: all but the tables of the embeddings, which are looked up.
double weights_beside_embeddings(const torch::nn::Module& model) {
  double count = 0;
  for (const nn::NamedTensor& item : trainable_parameters(model))
    if (item.name.find("_embeddings.weight") == std::string::npos)
      count += static_cast<double>(item.tensor.numel());
  return count;
}

std::function<at::Tensor(const model::ModelInputs&)> own_loss(model::PreTrainedModel& model,
                                                              const TrainerOptions& options) {
  return [&model, factor = options.label_smoothing_factor,
          checkpointing = options.gradient_checkpointing](const model::ModelInputs& inputs) {
    model::ForwardOptions forward;
    forward.gradient_checkpointing = checkpointing;
    forward.use_cache = false;
    if (factor <= 0 || !inputs.labels.defined()) return model.forward(inputs, forward).loss;
    model::ModelInputs unlabelled = inputs;
    unlabelled.labels = at::Tensor();
    return smoothed_loss(model.forward(unlabelled, forward).logits, inputs.labels, factor,
                         model.class_name() == "QDQBertLMHeadModel");
  };
}

}  // namespace

Trainer::Trainer(model::PreTrainedModel& model, TrainingData& data, TrainerOptions options,
                 TrainerHooks hooks, fs::path output)
    : model_(model),
      data_(data),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      output_(std::move(output)),
      device_(device_of(model)) {
  options_.validate();
  if (options_.fp16 && device_.is_cpu())
    fail<UsageError>("[fp16] half precision with loss scaling needs a GPU; on a CPU it is bf16");
  if (hooks_.group) options_.processes = hooks_.group->size();
  plan_ = RunPlan::make(options_, data_.size());
  schedule_ = {options_.schedule, options_.learning_rate, plan_.warmup_steps, plan_.max_steps};
  if (options_.evaluation != Interval::kNo && !hooks_.evaluate)
    fail<UsageError>("[evaluation_strategy] {} needs data to evaluate on", name_of(options_.evaluation));
  if (!hooks_.loss) hooks_.loss = own_loss(model_, options_);
  parameters_ = trainable_parameters(model_);
  if (parameters_.empty()) fail("[training] every parameter is frozen: there is nothing to train");
  optimizer_.emplace(parameters_, options_.adam);
  if (!device_.is_cpu()) device_steps_.emplace(*optimizer_, options_.max_grad_norm, options_.fp16);
  if (hooks_.group) {
    std::vector<at::Tensor> tensors;
    for (const nn::NamedTensor& item : parameters_) tensors.push_back(item.tensor);
    for (const at::Tensor& tensor : tensors) hooks_.group->broadcast(tensor.detach());
    average_.emplace(*hooks_.group, std::move(tensors));
  }
  weights_beside_embeddings_ = weights_beside_embeddings(model_);
  metric_ = options_.metric_for_best_model.value_or(hooks_.default_metric);
  if (!metric_.starts_with("eval_")) metric_ = "eval_" + metric_;
  const bool is_loss = metric_.size() >= 4 && metric_.compare(metric_.size() - 4, 4, "loss") == 0;
  greater_is_better_ = options_.greater_is_better.value_or(!is_loss);
  if (options_.group_by_length)
    for (int64_t i = 0; i < plan_.samples; ++i) lengths_.push_back(data_.length(i));
}

TrainingResult Trainer::run(const std::optional<fs::path>& resume_from) {
  if (resume_from) restore(*resume_from);
  const int64_t parameters =
      std::accumulate(parameters_.begin(), parameters_.end(), int64_t{0},
                      [](int64_t sum, const nn::NamedTensor& item) { return sum + item.tensor.numel(); });
  log_info("Training on {} samples: {} steps of {} (epochs: {:.3g}); {:.1f} million parameters learn",
           plan_.samples, plan_.max_steps, options_.global_batch_size() * options_.accumulation_steps,
           static_cast<double>(plan_.max_steps * options_.accumulation_steps) /
               static_cast<double>(plan_.batches_per_epoch),
           static_cast<double>(parameters) / 1e6);
  for (TrainingObserver* observer : hooks_.observers) observer->on_start(state_, plan_);
  nn::reset_gpu_peak(device_);
  const auto start = Clock::now();
  const int64_t first_step = state_.global_step;
  if (std::exchange(state_.evaluation_due, false)) evaluate(/*saved_next=*/false);
  train_steps();
  optimizer_->zero_grad();
  model_.eval();

  if (options_.load_best_model_at_end) load_best();
  const double seconds = seconds_since(start);
  TrainingResult result;
  result.metrics["epoch"] = rounded(state_.epoch, 2);
  result.metrics["total_flos"] = state_.flops;
  result.metrics["train_loss"] =
      state_.global_step > 0 ? state_.loss_sum / static_cast<double>(state_.global_step) : 0.0;
  result.metrics["train_runtime"] = rounded(seconds, 4);
  result.metrics["train_samples_per_second"] = rounded(static_cast<double>(samples_seen_) / seconds, 3);
  result.metrics["train_steps_per_second"] =
      rounded(static_cast<double>(state_.global_step - first_step) / seconds, 3);
  if (const int64_t peak = nn::gpu_peak_memory(device_); peak > 0)
    result.metrics["train_peak_gpu_memory"] = peak;
  append_log(result.metrics);
  result.state = state_;
  for (TrainingObserver* observer : hooks_.observers) observer->on_end(result.metrics);
  return result;
}

/// A lost rank leaves the others between two optimizer steps, so their state is whole.
void Trainer::train_steps() {
  try {
    run_steps();
  } catch (const LostRank&) {
    save_before_stopping();
    throw;
  }
}

void Trainer::run_steps() {
  int64_t micro = state_.micro_step;
  auto step_start = Clock::now();
  while (state_.global_step < plan_.max_steps && !stop_) {
    const int64_t epoch = micro / plan_.batches_per_epoch;
    if (state_.finished_epochs < epoch) {
      end_epoch(state_.finished_epochs);
      continue;
    }
    for (TrainingObserver* observer : hooks_.observers)
      observer->before_step(state_.global_step, plan_.max_steps);
    const Batch batch = take_batch(micro);
    bool between_steps = true;
    try {
      train_batch(batch);
      pending_tokens_ += batch.tokens;
      samples_seen_ += batch.samples;
      fetch_next(++micro);
      if (plan_.steps_after(batch.micro_step, options_.accumulation_steps)) {
        const double seconds = seconds_since(step_start);
        step_start = Clock::now();
        between_steps = false;
        end_step(batch, seconds);
      }
    } catch (const c10::Error& error) {
      if (!is_out_of_gpu_memory(error)) throw;
      refuse_for_memory(batch, between_steps, error);
    }
    if (micro % plan_.batches_per_epoch == 0) end_epoch(epoch);
    show_progress();
  }
  settle();
  if (micro > 0) end_epoch((micro - 1) / plan_.batches_per_epoch);
}

/// Where a run may be stopped: what was computed since the last optimizer step is dropped.
void Trainer::show_progress() {
  if (!hooks_.progress) return;
  try {
    hooks_.progress("training", state_.global_step, plan_.max_steps);
  } catch (...) {
    save_before_stopping();
    throw;
  }
}

void Trainer::load_epoch(int64_t epoch) {
  if (epoch == order_epoch_) return;
  if (options_.group_by_length) {
    order_ = length_grouped_order(lengths_, options_.global_batch_size() * options_.accumulation_steps,
                                  options_.seed, epoch);
  } else if (options_.shuffle) {
    order_ = loader_order(plan_.samples, options_.seed, epoch);
  } else {
    order_.resize(static_cast<size_t>(plan_.samples));
    std::iota(order_.begin(), order_.end(), int64_t{0});
  }
  order_epoch_ = epoch;
}

Trainer::Batch Trainer::make_batch(int64_t micro_step) {
  load_epoch(micro_step / plan_.batches_per_epoch);
  const int64_t begin = micro_step % plan_.batches_per_epoch * options_.global_batch_size();
  const int64_t count = std::min(options_.global_batch_size(), plan_.samples - begin);
  // Every rank has at least one sample: RunPlan leaves a last batch out that
  // has fewer samples than there are ranks.
  const int64_t mine = begin + count * rank() / options_.processes;
  const int64_t next = begin + count * (rank() + 1) / options_.processes;
  const std::span<const int64_t> samples(order_.data() + mine, static_cast<size_t>(next - mine));
  Batch batch;
  batch.inputs = data_.batch(samples, static_cast<int64_t>(draw_number(micro_step)));
  batch.micro_step = micro_step;
  batch.samples = count;
  batch.weight = static_cast<double>((next - mine) * options_.processes) / static_cast<double>(count);
  for (const int64_t sample : samples) batch.tokens += data_.length(sample);
  return batch;
}

uint64_t Trainer::draw_number(int64_t micro_step) const {
  return static_cast<uint64_t>(micro_step * options_.processes + rank());
}

at::Tensor Trainer::forward(const Batch& batch) {
  model_.train();
  nn::begin_dropout(options_.seed, draw_number(batch.micro_step));
  std::optional<nn::HalfAutocast> autocast;
  if (options_.bf16 || options_.fp16) autocast.emplace(device_, options_.fp16 ? at::kHalf : at::kBFloat16);
  at::Tensor loss = hooks_.loss(batch.on_device);
  if (!loss.defined()) fail("[training] the batch has no labels, so there is no loss");
  return loss;
}

/// Adds the batch's gradients to those of the step, and its share to the step's loss.
void Trainer::train_batch(const Batch& batch) {
  const at::Tensor loss = forward(batch);
  const auto share = static_cast<float>(static_cast<double>(options_.accumulation_steps) / batch.weight);
  float value = 0;
  if (!device_steps_) {
    value = loss.item<float>();
    if (!std::isfinite(value))
      refuse_batch(batch, state_.global_step + 1, fmt::format("the loss is {}", value));
  }
  if (average_ && plan_.steps_after(batch.micro_step, options_.accumulation_steps)) average_->arm();
  if (device_steps_) {
    device_steps_->backward(loss, share);
  } else {
    (share != 1 ? loss / share : loss).backward();
    pending_loss_ += value / share;
  }
  if (const std::optional<double> chance = data_.chance_loss(batch.inputs)) {
    chance_sum_ += *chance;
    ++chance_batches_;
  }
  const double positions = static_cast<double>(
      (batch.inputs.input_ids.defined() ? batch.inputs.input_ids : batch.inputs.attention_mask).numel());
  pending_flops_ += 6 * positions * weights_beside_embeddings_;
}

/// Everything between the last backward pass and the optimizer.
/// Returns the norm of the gradients before clipping.
double Trainer::finish_gradients(const Batch& batch) {
  if (average_) {
    average_->finish();
    const at::Tensor sums =
        at::tensor({pending_loss_, static_cast<double>(pending_tokens_), pending_flops_}, at::kDouble);
    hooks_.group->sum(sums);
    pending_loss_ = sums[0].item<double>() / static_cast<double>(options_.processes);
    pending_tokens_ = static_cast<int64_t>(sums[1].item<double>());
    pending_flops_ = sums[2].item<double>();
  }
  const double norm = gradient_norm(parameters_);
  if (!std::isfinite(norm))
    refuse_batch(batch, state_.global_step + 1, fmt::format("the norm of the gradients is {}", norm));
  return norm;
}

/// `seconds`: since the end of the step before.
void Trainer::end_step(const Batch& batch, double seconds) {
  if (device_steps_) {
    if (seconds > 0) tokens_per_second_ = static_cast<double>(pending_tokens_) * options_.processes / seconds;
    end_device_step(batch);
  } else {
    const double norm = finish_gradients(batch);
    if (seconds > 0) tokens_per_second_ = static_cast<double>(pending_tokens_) / seconds;
    const double learning_rate = schedule_.at(state_.global_step);
    optimizer_->step(learning_rate, clip_factor(norm, options_.max_grad_norm));
    optimizer_->zero_grad();
    ++state_.global_step;
    account({state_.global_step, plan_.max_steps, pending_loss_, norm, learning_rate, tokens_per_second_},
            pending_flops_, pending_tokens_);
  }
  pending_loss_ = pending_flops_ = 0;
  pending_tokens_ = 0;
  state_.micro_step = batch.micro_step + 1;
  state_.epoch = static_cast<double>(state_.micro_step) / static_cast<double>(plan_.batches_per_epoch);
  after_step();
}

void Trainer::account(const StepReport& report, double flops, int64_t tokens) {
  state_.loss_sum += report.loss;
  state_.flops += flops;
  state_.tokens += tokens;
  last_norm_ = report.gradient_norm;
  for (TrainingObserver* observer : hooks_.observers) observer->on_step(report);
}

bool Trainer::is_due(Interval interval, int64_t every) const {
  return interval == Interval::kSteps && every > 0 && state_.global_step % every == 0;
}

void Trainer::after_step() {
  const bool logs = is_due(options_.logging, options_.logging_steps) ||
                    (options_.logging_first_step && state_.global_step == 1);
  const bool evaluates = is_due(options_.evaluation, options_.eval_steps);
  const bool saves = is_due(options_.saving, options_.save_steps);
  if (logs || evaluates || saves) settle();
  if (logs) log_losses();
  if (evaluates) {
    state_.evaluation_due = true;
    evaluate(saves);
  }
  if (saves) save();
}

void Trainer::end_epoch(int64_t epoch) {
  if (epoch < state_.finished_epochs) return;
  settle();
  if (options_.logging == Interval::kEpoch) log_losses();
  const bool saves = options_.saving == Interval::kEpoch;
  if (options_.evaluation == Interval::kEpoch) evaluate(saves);
  state_.finished_epochs = epoch + 1;
  if (saves) save();
}

}  // namespace qdqbert::train
