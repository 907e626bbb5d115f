// Dynamic loss scaling for training in half precision.
#pragma once

#include <cstdint>

#include <ATen/ATen.h>

namespace qdqbert::train {

/// Keeps the factor by which a loss is multiplied so that half-precision gradients do not vanish. The rule is
/// that of PyTorch's GradScaler: halve when a gradient overflowed (the step is then skipped), double after
/// `growth_interval` good steps in a row. It is applied on the device, where the factor lies.
class LossScaler {
 public:
  struct Options {
    double initial = 65536, growth = 2, backoff = 0.5;
    int64_t growth_interval = 2000;
  };
  /// Throws UsageError: growth not above 1, backoff outside (0, 1), initial or interval not positive.
  explicit LossScaler(const Options& options, at::Device device = at::kCPU);
  explicit LossScaler(at::Device device = at::kCPU) : LossScaler(Options{}, device) {}

  /// float32 [] on the device; stays what it is when update() makes the next one.
  const at::Tensor& scale() const { return scale_; }
  /// After a backward pass. `finite`: bool [] on the device, whether all gradients were.
  void update(const at::Tensor& finite);

  /// The scale and the good steps since its last change, which wait for the device;
  /// and what sets them, for resuming.
  double current_scale() const { return scale_.item<double>(); }
  int64_t good_steps() const { return good_steps_.item<int64_t>(); }
  void restore(double scale, int64_t good_steps);

 private:
  Options options_;
  at::Tensor scale_, good_steps_;
};

}  // namespace qdqbert::train
