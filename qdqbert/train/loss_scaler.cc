#include "qdqbert/train/loss_scaler.h"

#include "qdqbert/base/error.h"

namespace qdqbert::train {

LossScaler::LossScaler(const Options& options, at::Device device)
    : options_(options),
      scale_(at::full({}, options.initial, at::TensorOptions(device).dtype(at::kFloat))),
      good_steps_(at::zeros({}, at::TensorOptions(device).dtype(at::kLong))) {
  if (!(options.initial > 0)) fail<UsageError>("[loss scale] {} is not positive", options.initial);
  if (!(options.growth > 1)) fail<UsageError>("[loss scale] growth {} is not above 1", options.growth);
  if (!(options.backoff > 0 && options.backoff < 1))
    fail<UsageError>("[loss scale] backoff {} is not between 0 and 1", options.backoff);
  if (options.growth_interval < 1)
    fail<UsageError>("[loss scale] a growth interval of {} steps; at least 1 is needed",
                     options.growth_interval);
}

void LossScaler::update(const at::Tensor& finite) {
  const at::NoGradGuard no_grad;
  const at::Tensor none = at::zeros_like(good_steps_);
  const at::Tensor good = at::where(finite, good_steps_ + 1, none);
  const at::Tensor grows = good.eq(options_.growth_interval), larger = scale_ * options_.growth;
  const at::Tensor after = at::where(grows.logical_and(larger.isfinite()), larger, scale_);
  scale_ = at::where(finite, after, scale_ * options_.backoff);
  good_steps_ = at::where(grows, none, good);
}

void LossScaler::restore(double scale, int64_t good_steps) {
  scale_ = at::full_like(scale_, scale);
  good_steps_ = at::full_like(good_steps_, good_steps);
}

}  // namespace qdqbert::train
