// Products in half precision.
#pragma once

#include <optional>

#include <ATen/ATen.h>

namespace qdqbert::nn {

/// While it lives, quantized linear layers that this thread starts take half-precision operands, forward and
/// backward, and sum in float32; so do attention products that LibTorch's operators compute (its autocast),
/// while those of fused attention on the CPU stay float32. What quantizers read and write, softmax,
/// LayerNorm, sums, and the unquantized layers of heads, whose few products decide between close answers,
/// stay float32 everywhere; on a GPU, results of products are half precision until then, as in the original.
class HalfAutocast {
 public:
  /// What of it this thread is under, to compute the same again later, maybe on another thread.
  struct State {
    at::DeviceType device = at::kCPU;
    std::optional<at::ScalarType> type;  ///< nullopt: under none
  };
  static State state();

  /// `type`: kBFloat16, or kHalf on a GPU. Throws UsageError for a device that has no such products.
  explicit HalfAutocast(at::Device device = at::kCPU, at::ScalarType type = at::kBFloat16);
  ~HalfAutocast();
  HalfAutocast(const HalfAutocast&) = delete;
  HalfAutocast& operator=(const HalfAutocast&) = delete;

  /// Whether this thread computes under one, of any device.
  static bool is_on() { return state().type.has_value(); }

 private:
  at::DeviceType device_;
  bool before_;
};

/// Products of this thread are float32 again, while it lives.
class ProductsInFloat32 {
 public:
  ProductsInFloat32();

 private:
  c10::impl::ExcludeDispatchKeyGuard without_autocast_;
};

/// This thread computes under `state`, while it lives, whatever it is under otherwise.
class AutocastAgain {
 public:
  explicit AutocastAgain(const HalfAutocast::State& state);

 private:
  std::optional<ProductsInFloat32> without_;
  std::optional<HalfAutocast> with_;
};

}  // namespace qdqbert::nn
