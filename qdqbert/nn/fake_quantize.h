// Fake and real quantization of LibTorch tensors, differentiable with the toolkit's straight-through
// gradient.
#pragma once

#include <ATen/ATen.h>

#include "qdqbert/quant/fake_quant.h"

namespace qdqbert::nn {

/// How a quantizer is used in one forward pass.
struct QuantCall {
  quant::Arithmetic arithmetic = quant::Arithmetic::kToolkit;
  /// The caller needs the input no longer: without gradients the result may be written over it.
  bool may_overwrite = false;
};

/// fake_quant(x) of quant/fake_quant.h for any shape, `amax` broadcast as that arithmetic does. float32 on
/// the CPU runs quant/'s kernels; other types and devices the same steps as tensor operators, with the type
/// promotions of the original (kAffine: half is refused, the rest is PyTorch's own operator). Gradient to x
/// only. Throws InputError for a negative amax, and for negative x when unsigned.
at::Tensor fake_quantize(const at::Tensor& x, const at::Tensor& amax, const quant::QuantParams& params,
                         bool may_overwrite = false);

/// Integer values in x's type, and the scale that gave them in the shape of amax and x's type.
struct Quantized {
  at::Tensor values, scale;
};

/// The toolkit's tensor_quant; its gradient passes unscaled where |x| <= amax. Throws InputError as
/// fake_quantize does and for half x whose scale exceeds 65504.
Quantized tensor_quantize(const at::Tensor& x, const at::Tensor& amax, const quant::QuantParams& params);

/// max|x| over all dimensions that are not in `kept`, dimensions stay with size 1; a scalar when one element
/// results. Type and device of x; without gradient.
at::Tensor dynamic_amax(const at::Tensor& x, const std::vector<int>& kept);

/// float32 values of a tensor on any device.
quant::FloatArray to_float_array(const at::Tensor& tensor);
at::Tensor to_tensor(const quant::FloatArray& array);

}  // namespace qdqbert::nn
