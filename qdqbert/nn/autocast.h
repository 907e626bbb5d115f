// Products in BF16.
#pragma once

namespace qdqbert::nn {

/// While it lives, quantized linear layers that this thread starts take BF16 operands, forward and backward,
/// and sum in float32; so do attention products that LibTorch's operators compute (its autocast), while those
/// of fused attention stay float32. Everything between them stays float32: what quantizers read and
/// write, softmax, LayerNorm, sums, and the unquantized layers of heads, whose few products decide between
/// close answers.
class Bf16Autocast {
 public:
  Bf16Autocast();
  ~Bf16Autocast();
  Bf16Autocast(const Bf16Autocast&) = delete;
  Bf16Autocast& operator=(const Bf16Autocast&) = delete;

  /// Whether this thread computes under one.
  static bool is_on();

 private:
  bool before_;
};

}  // namespace qdqbert::nn
