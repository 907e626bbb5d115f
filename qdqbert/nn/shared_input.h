// A tensor that several quantizers read: equal ranges give equal results, so each is computed once.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "qdqbert/nn/tensor_quantizer.h"

namespace qdqbert::nn {

/// Lives for one use of `x`, which must not change meanwhile. Quantizers whose parameters agree and whose
/// scalar ranges have equal bits (or are both dynamic) share one result, whose gradient is then summed before
/// it passes the quantizer once; otherwise every call computes.
class SharedInput {
 public:
  explicit SharedInput(at::Tensor x) : x_(std::move(x)) {}

  const at::Tensor& tensor() const { return x_; }
  /// quantizer.forward(tensor(), {arithmetic}); the result must not be written to.
  at::Tensor quantize(TensorQuantizer& quantizer, quant::Arithmetic arithmetic);

 private:
  struct Result {
    quant::QuantParams params;
    std::optional<float> amax;  // nullopt: dynamic
    at::Tensor value;
  };
  at::Tensor x_;
  std::vector<Result> results_;
};

}  // namespace qdqbert::nn
