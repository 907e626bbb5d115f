// Dynamic loss scaling for training in half precision.
#pragma once

#include <cstdint>

namespace qdqbert::train {

/// Keeps the factor by which a loss is multiplied so that half-precision gradients do not vanish. The rule is
/// that of PyTorch's GradScaler: halve when a gradient overflowed (the step is then skipped), double after
/// `growth_interval` good steps in a row.
class LossScaler {
 public:
  struct Options {
    double initial = 65536, growth = 2, backoff = 0.5;
    int64_t growth_interval = 2000;
  };
  /// Throws UsageError: growth not above 1, backoff outside (0, 1), initial or interval not positive.
  explicit LossScaler(const Options& options);
  LossScaler() : LossScaler(Options{}) {}

  double scale() const { return scale_; }
  /// Good steps since the last change.
  int64_t good_steps() const { return good_steps_; }
  /// After a backward pass whose unscaled gradient norm is `norm`: true when the optimizer may step, false
  /// when the step must be skipped because the norm is infinite or not a number.
  bool update(double norm);
  /// For resuming.
  void restore(double scale, int64_t good_steps);

 private:
  Options options_;
  double scale_;
  int64_t good_steps_ = 0;
};

}  // namespace qdqbert::train
