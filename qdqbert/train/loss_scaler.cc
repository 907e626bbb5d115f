#include "qdqbert/train/loss_scaler.h"

#include <cmath>

#include "qdqbert/base/error.h"

namespace qdqbert::train {

LossScaler::LossScaler(const Options& options) : options_(options), scale_(options.initial) {
  if (!(options.initial > 0)) fail<UsageError>("[loss scale] {} is not positive", options.initial);
  if (!(options.growth > 1)) fail<UsageError>("[loss scale] growth {} is not above 1", options.growth);
  if (!(options.backoff > 0 && options.backoff < 1))
    fail<UsageError>("[loss scale] backoff {} is not between 0 and 1", options.backoff);
  if (options.growth_interval < 1)
    fail<UsageError>("[loss scale] a growth interval of {} steps; at least 1 is needed",
                     options.growth_interval);
}

bool LossScaler::update(double norm) {
  if (!std::isfinite(norm)) {
    scale_ *= options_.backoff;
    good_steps_ = 0;
    return false;
  }
  if (++good_steps_ == options_.growth_interval) {
    scale_ *= options_.growth;
    good_steps_ = 0;
  }
  return true;
}

void LossScaler::restore(double scale, int64_t good_steps) {
  scale_ = scale;
  good_steps_ = good_steps;
}

}  // namespace qdqbert::train
