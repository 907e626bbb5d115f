#include "qdqbert/quant/fake_quant_dtypes.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "qdqbert/base/error.h"

namespace qdqbert::quant {

namespace {

constexpr double kTiny = 0x1p-24;
constexpr float kLargestHalf = 65504;

double to_dtype(DType dtype, double value) {
  switch (dtype) {
    case DType::kF64:
      return value;
    case DType::kF32:
      return static_cast<float>(value);
    case DType::kF16:
      return half_to_float(float_to_half(static_cast<float>(value)));
    case DType::kBF16:
      return bfloat16_to_float(float_to_bfloat16(static_cast<float>(value)));
    default:
      fail("[fake_quant] element type {} is not floating", name_of(dtype));
  }
}

// Half and bfloat16 operators compute in float32 and round once more.
double multiply(DType dtype, double a, double b) {
  return dtype == DType::kF64 ? a * b : to_dtype(dtype, static_cast<float>(a) * static_cast<float>(b));
}
double divide(DType dtype, double a, double b) {
  return dtype == DType::kF64 ? a / b : to_dtype(dtype, static_cast<float>(a) / static_cast<float>(b));
}

struct Kind {
  DType dtype;
  bool scalar;
};

/// Result type of an operator on two tensors: a scalar gives way to a tensor with dimensions.
Kind promote(Kind a, Kind b) {
  if (a.scalar != b.scalar) return {a.scalar ? b.dtype : a.dtype, false};
  if (a.dtype == b.dtype) return a;
  for (const DType wide : {DType::kF64, DType::kF32})
    if (a.dtype == wide || b.dtype == wide) return {wide, a.scalar};
  return {DType::kF32, a.scalar};
}

DType lift_half(DType dtype) {
  return dtype == DType::kF16 ? DType::kF32 : dtype;
}

/// Index of the amax value that each element uses.
std::vector<size_t> channel_indices(const TypedValues& x, const TypedValues& amax) {
  FloatArray positions{amax.shape, {}};
  for (size_t i = 0; i < amax.values.size(); ++i) positions.values.push_back(static_cast<float>(i));
  const AmaxView view = broadcast_amax(positions, x.shape);
  std::vector<size_t> indices(x.values.size());
  for (size_t i = 0; i < indices.size(); ++i)
    indices[i] = static_cast<size_t>(view.values[view.channels == 1 ? 0 : i / view.inner % view.channels]);
  return indices;
}

struct Quantized {
  TypedValues q;
  std::vector<double> scale;
  Kind scale_kind;
};

Quantized quantize(const TypedValues& x, const TypedValues& amax, const QuantParams& params) {
  if (params.arithmetic != Arithmetic::kToolkit)
    fail("[fake_quant] affine arithmetic is defined for float32 only");
  const double bound = max_bound(params.num_bits, params.is_unsigned), lower = min_bound(params);
  if (params.is_unsigned) {
    bool negative = false, nan = false;
    for (const double value : x.values) {
      negative |= value < 0;
      nan |= value != value;
    }
    if (negative && !nan) fail("[fake_quant] unsigned quantization of a tensor with negative values");
  }
  double smallest = std::numeric_limits<double>::infinity();
  bool nan = false;
  for (const double value : amax.values) {
    smallest = std::min(smallest, value);
    nan |= value != value;
  }
  if (!nan && smallest < 0) fail("[fake_quant] amax must not be negative, got {}", smallest);

  const bool scalar_amax = amax.shape.empty();
  const Kind scale_kind = promote({DType::kF32, true}, {lift_half(amax.dtype), scalar_amax});
  const Kind q_kind = promote({lift_half(x.dtype), x.shape.empty()}, scale_kind);
  Quantized result{{q_kind.dtype, x.shape, {}}, amax.values, scale_kind};
  std::vector<double> factor(amax.values.size());
  for (size_t c = 0; c < factor.size(); ++c) {
    const bool tiny = !nan && amax.values[c] <= kTiny;
    const double scale = divide(scale_kind.dtype, bound, amax.values[c]);
    factor[c] = tiny ? 0 : to_dtype(q_kind.dtype, scale);
    result.scale[c] = tiny ? 1 : scale;
  }
  const std::vector<size_t> channel = channel_indices(x, amax);
  result.q.values.resize(x.values.size());
  for (size_t i = 0; i < x.values.size(); ++i) {
    double q = std::nearbyint(multiply(q_kind.dtype, x.values[i], factor[channel[i]]));
    if (q < lower) q = lower;
    if (q > bound) q = bound;
    result.q.values[i] = to_dtype(q_kind.dtype, q);
  }
  if (x.dtype == DType::kF16) {
    result.q.dtype = DType::kF16;
    for (double& q : result.q.values) q = to_dtype(DType::kF16, q);
  }
  return result;
}

}  // namespace

TypedValues fake_quant(const TypedValues& x, const TypedValues& amax, const QuantParams& params) {
  Quantized quantized = quantize(x, amax, params);
  const Kind kind = promote({quantized.q.dtype, x.shape.empty()}, {x.dtype, quantized.scale_kind.scalar});
  const std::vector<size_t> channel = channel_indices(x, amax);
  TypedValues y{kind.dtype, x.shape, std::move(quantized.q.values)};
  for (size_t i = 0; i < y.values.size(); ++i)
    y.values[i] = divide(kind.dtype, y.values[i], to_dtype(x.dtype, quantized.scale[channel[i]]));
  return y;
}

TypedQuantized tensor_quant(const TypedValues& x, const TypedValues& amax, const QuantParams& params) {
  Quantized quantized = quantize(x, amax, params);
  TypedQuantized result{std::move(quantized.q), {x.dtype, amax.shape, std::move(quantized.scale)}};
  for (double& scale : result.scale.values) {
    if (result.q.dtype == DType::kF16 && scale > kLargestHalf)
      fail("[tensor_quant] scale {} does not fit half precision (largest {})", scale, kLargestHalf);
    scale = to_dtype(x.dtype, scale);
  }
  return result;
}

std::vector<bool> gradient_mask(const TypedValues& x, const TypedValues& amax) {
  const Kind kind = promote({x.dtype, x.shape.empty()}, {amax.dtype, amax.shape.empty()});
  const std::vector<size_t> channel = channel_indices(x, amax);
  std::vector<bool> mask(x.values.size());
  for (size_t i = 0; i < mask.size(); ++i)
    mask[i] = std::fabs(to_dtype(kind.dtype, x.values[i])) <= to_dtype(kind.dtype, amax.values[channel[i]]);
  return mask;
}

}  // namespace qdqbert::quant
