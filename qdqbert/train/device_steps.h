// Optimizer steps whose numbers stay on the device: nothing between two batches waits for it.
#pragma once

#include <optional>

#include "qdqbert/nn/gpu.h"
#include "qdqbert/train/loss_scaler.h"
#include "qdqbert/train/optimizer.h"
#include "qdqbert/train/process_group.h"

namespace qdqbert::train {

/// What an optimizer step was about, over all processes.
struct StepNumbers {
  double loss = 0;           ///< sum over its batches of their shares
  double gradient_norm = 0;  ///< before clipping; not finite: nothing was changed
  double tokens = 0, flops = 0;
  double loss_scale = 1;  ///< that the step used
};

class DeviceSteps {
 public:
  /// For the parameters of `optimizer`. `scales_loss`: --fp16.
  DeviceSteps(AdamW& optimizer, double max_grad_norm, bool scales_loss);

  /// The backward pass of loss / share, scaled.
  void backward(const at::Tensor& loss, float share);
  /// Clips and steps, unless a loss or a gradient is not finite on any process: then nothing changes, and the
  /// scale is halved. `tokens` and `flops` are this process's. The numbers are there when the device is.
  nn::ReadBack step(double learning_rate, double tokens, double flops, ProcessGroup* group);
  static StepNumbers read(const nn::ReadBack& numbers);

  /// nullptr without --fp16.
  LossScaler* scaler() { return scaler_ ? &*scaler_ : nullptr; }
  const LossScaler* scaler() const { return scaler_ ? &*scaler_ : nullptr; }

 private:
  AdamW& optimizer_;
  double max_grad_norm_;
  at::Device device_;
  std::optional<LossScaler> scaler_;
  at::Tensor loss_;  // float64 [], of the batches since the last step
};

}  // namespace qdqbert::train
