// Products in BF16.
#pragma once

namespace qdqbert::nn {

/// While it lives, quantized linear layers and attention products that this thread starts take BF16 operands
/// and sum in float32 (LibTorch's autocast). Everything between them stays float32: what quantizers read and
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
