// Fake and real quantization of LibTorch tensors, differentiable with
// the toolkit's straight-through gradient.
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

/// fake_quant(x) of quant/fake_quant.h for any shape, `amax` broadcast as that arithmetic does.
/// float32 on the CPU runs quant/'s kernels, float32 on a GPU with kToolkit those of fake_quantize_cuda.h
/// where they are built; other types and devices the same steps as tensor operators, with the type
/// promotions of the original (kAffine: half is refused, the rest is PyTorch's own operator).
/// Gradient to x only. Throws InputError for a negative amax, and for negative x when unsigned; a device
/// is not waited for, there they become NaN.
at::Tensor fake_quantize(const at::Tensor& x, const at::Tensor& amax, const quant::QuantParams& params,
                         bool may_overwrite = false);

/// What fake_quantize gives, and one bit an element (layout of kernels/rows.h)
/// that says where its gradient passes.
struct MarkedQuantized {
  at::Tensor values;
  at::Tensor passes;  ///< bytes
};

/// Whether fake_quantize_marked() may be called: float32 on the CPU.
bool has_marked_kernels(const at::Tensor& x, const at::Tensor& amax);
/// Leaves no trace in the graph of gradients. Errors as fake_quantize.
MarkedQuantized fake_quantize_marked(const at::Tensor& x, const at::Tensor& amax,
                                     const quant::QuantParams& params);
/// The gradient where `passes` has a bit, else 0.
at::Tensor pass_marked(const at::Tensor& gradient, const at::Tensor& passes);
/// The same in place; contiguous float32.
void pass_marked_(const at::Tensor& gradient, const at::Tensor& passes);

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
