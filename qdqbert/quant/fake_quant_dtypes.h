// fake_quant and tensor_quant for float64, half and bfloat16 tensors: the type promotions
// of the toolkit's operators on the CPU, which give other values than computing in float32
// and rounding once. kToolkit arithmetic.
#pragma once

#include <span>

#include "qdqbert/quant/fake_quant.h"

namespace qdqbert::quant {

/// Values in double, whatever the element type: every half, bfloat16 and float32 number is one.
struct TypedValues {
  DType dtype = DType::kF32;  ///< kF64, kF32, kF16 or kBF16
  Shape shape;
  std::vector<double> values;
};

/// Result in the type that the toolkit gives: that of x, but float32 for bfloat16 x with a float32 amax that
/// has dimensions. Errors as fake_quant.
TypedValues fake_quant(const TypedValues& x, const TypedValues& amax, const QuantParams& params);

struct TypedQuantized {
  TypedValues q;
  TypedValues scale;  ///< shape of amax, type of x
};
/// Throws InputError also for half x whose scale exceeds 65504.
TypedQuantized tensor_quant(const TypedValues& x, const TypedValues& amax, const QuantParams& params);

/// Whether the gradient passes, one flag an element: |x| <= amax after
/// promotion (a scalar amax takes x's type).
std::vector<bool> gradient_mask(const TypedValues& x, const TypedValues& amax);

}  // namespace qdqbert::quant
