// The training loop where the model lies on a GPU: batches are fetched one ahead, and what a step has
// computed is read when the next one is under way.
#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/train/checkpoint.h"
#include "qdqbert/train/device.h"
#include "qdqbert/train/trainer.h"

namespace qdqbert::train {

Trainer::Batch Trainer::take_batch(int64_t micro_step) {
  if (next_batch_ && next_batch_->micro_step == micro_step) {
    Batch batch = std::move(*next_batch_);
    next_batch_.reset();
    return batch;
  }
  Batch batch = make_batch(micro_step);
  batch.on_device = to_device(batch.inputs, device_);
  return batch;
}

/// While the device works on the batch before. On the CPU nothing works meanwhile.
void Trainer::fetch_next(int64_t micro_step) {
  if (!device_steps_) return;
  const bool ends = plan_.steps_after(micro_step - 1, options_.accumulation_steps);
  if (state_.global_step + (ends ? 1 : 0) < plan_.max_steps) next_batch_ = take_batch(micro_step);
}

void Trainer::end_device_step(const Batch& batch) {
  if (average_) average_->finish();
  const double learning_rate = schedule_.at(state_.global_step);
  nn::ReadBack numbers =
      device_steps_->step(learning_rate, static_cast<double>(pending_tokens_), pending_flops_, hooks_.group);
  optimizer_->zero_grad();
  settle();
  ++state_.global_step;
  unread_.emplace(Unread{std::move(numbers),
                         {state_.global_step, plan_.max_steps, 0, 0, learning_rate, tokens_per_second_},
                         batch});
}

/// Reads what the last step has computed. A step that was not finite has changed nothing; without a loss
/// scale that could be the reason, it ends the run.
void Trainer::settle() {
  if (!unread_) return;
  const Unread step = *std::exchange(unread_, std::nullopt);
  const StepNumbers numbers = DeviceSteps::read(step.numbers);
  if (!std::isfinite(numbers.loss))
    refuse_batch(step.batch, step.report.step, fmt::format("the loss is {}", numbers.loss));
  if (!std::isfinite(numbers.gradient_norm)) {
    if (!options_.fp16 || numbers.loss_scale <= 1)
      refuse_batch(
          step.batch, step.report.step,
          fmt::format("the norm of the gradients is {}{}", numbers.gradient_norm,
                      options_.fp16 ? fmt::format(" at a loss scale of {}", numbers.loss_scale) : ""));
    log_info(
        "step {}: a gradient overflows FP16 at a loss scale of {}; the step is left out, the scale halved",
        step.report.step, numbers.loss_scale);
  }
  StepReport report = step.report;
  report.loss = numbers.loss;
  report.gradient_norm = std::isfinite(numbers.gradient_norm) ? numbers.gradient_norm : last_norm_;
  account(report, numbers.flops, static_cast<int64_t>(numbers.tokens));
}

std::string Trainer::memory_text() const {
  const int64_t peak = nn::gpu_peak_memory(device_);
  return peak == 0 ? "" : fmt::format(", {:.2f} GiB at most", static_cast<double>(peak) / (int64_t{1} << 30));
}

void Trainer::refuse_for_memory(const Batch& batch, bool between_steps, const std::exception& error) {
  if (between_steps) save_before_stopping();
  const std::optional<std::filesystem::path> last = last_checkpoint(output_);
  train::refuse_for_memory(
      fmt::format("training: step {}, batch {}", state_.global_step + 1, batch.micro_step), device_,
      batch.inputs,
      fmt::format(
          "{}; a smaller --per_device_train_batch_size with more --gradient_accumulation_steps trains the "
          "same in less, and so does --gradient_checkpointing",
          last ? fmt::format("the last checkpoint is {}", last->string()) : "there is no checkpoint yet"),
      error);
}

}  // namespace qdqbert::train
