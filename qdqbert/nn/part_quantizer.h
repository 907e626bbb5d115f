// A quantizer whose result for a part of a tensor depends on that part alone.
#pragma once

#include <optional>
#include <vector>

#include "qdqbert/nn/tensor_quantizer.h"

namespace qdqbert::nn {

/// One range that is known before, or no quantization at all. Cheap to copy, for any number of threads.
class PartQuantizer {
 public:
  /// nullopt when the quantizer calibrates, learns, checks signs, or has several ranges or a dynamic one.
  static std::optional<PartQuantizer> of(const TensorQuantizer& quantizer, quant::Arithmetic arithmetic);

  /// The same quantizer as numbers, which a node of the graph can keep.
  std::vector<double> numbers() const;
  static PartQuantizer from(const std::vector<double>& numbers);

  /// Hands its input through; run() must not be called.
  bool is_inert() const { return !params_; }
  /// y = fake_quant(x) of `count` elements, y may be x; with `passes` also the marks of
  /// quant::fake_quant_marked, beginning at its first bit.
  void run(const float* x, size_t count, float* y, uint8_t* passes) const;

 private:
  std::optional<quant::QuantParams> params_;
  float amax_ = 0;
};

}  // namespace qdqbert::nn
