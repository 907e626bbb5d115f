#include "qdqbert/train/device_steps.h"

namespace qdqbert::train {

DeviceSteps::DeviceSteps(AdamW& optimizer, double max_grad_norm, bool scales_loss)
    : optimizer_(optimizer),
      max_grad_norm_(max_grad_norm),
      device_(optimizer.parameters().at(0).tensor.device()),
      loss_(at::zeros({}, at::TensorOptions(device_).dtype(at::kDouble))) {
  if (scales_loss) scaler_.emplace(device_);
}

void DeviceSteps::backward(const at::Tensor& loss, float share) {
  const at::Tensor part = share != 1 ? loss / share : loss;
  loss_ = loss_ + part.detach().to(at::kDouble);
  (scaler_ ? part * scaler_->scale() : part).backward();
}

nn::ReadBack DeviceSteps::step(double learning_rate, double tokens, double flops, ProcessGroup* group) {
  const at::NoGradGuard no_grad;
  const at::Tensor one = at::ones({}, loss_.options().dtype(at::kFloat));
  const at::Tensor scale = scaler_ ? scaler_->scale() : one;
  const at::Tensor inverse = one / scale;
  const at::Tensor norm = gradient_norm_on_device(optimizer_.parameters()) * inverse;
  at::Tensor sums =
      at::stack({loss_, at::full({}, tokens, loss_.options()), at::full({}, flops, loss_.options())});
  if (group) {
    group->sum(sums);
    sums = sums / at::tensor({static_cast<double>(group->size()), 1.0, 1.0}, at::kDouble).to(device_);
  }
  const at::Tensor goes = norm.isfinite().logical_and(sums[0].isfinite());
  optimizer_.step_on_device(learning_rate, {inverse * clip_factor_on_device(norm, max_grad_norm_), goes});
  if (scaler_) scaler_->update(goes);
  loss_ = at::zeros_like(loss_);
  return nn::ReadBack(at::cat({sums, at::stack({norm.to(at::kDouble), scale.to(at::kDouble)})}));
}

StepNumbers DeviceSteps::read(const nn::ReadBack& numbers) {
  const std::vector<double> values = numbers.values();
  return {values[0], values[3], values[1], values[2], values[4]};
}

}  // namespace qdqbert::train
