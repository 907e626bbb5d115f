// QuantizeLinear DequantizeLinear DynamicQuantizeLinear, of the standard domain and of com.microsoft.
#include "qdqbert/engine/reference/quantization.h"

#include <cmath>

#include "qdqbert/engine/reference/types.h"
#include "qdqbert/engine/reference/zip.h"

namespace qdqbert::engine::reference {

Quantizer quantizer_of(const Call& call, const Shape& shape, const Tensor& scale, const Tensor* zero_point,
                       DType otherwise, int64_t axis) {
  call.require(scale, DType::kF32, "the scale");
  Quantizer result;
  result.scale = to_float32(scale.view());
  const bool per_tensor = scale.shape.empty() || (scale.shape.size() == 1 && scale.shape[0] == 1);
  if (!per_tensor) {
    if (scale.shape.size() != 1)
      call.refuse("the scale's shape {} is neither a scalar nor one dimension", to_string(scale.shape));
    const size_t d = call.axis(axis, shape.size());
    if (shape[d] != scale.shape[0])
      call.refuse("{} scales do not fit axis {} of {}", scale.shape[0], axis, to_string(shape));
    result.inner = call.count({shape.begin() + static_cast<int64_t>(d) + 1, shape.end()});
  }
  for (const float value : result.scale)
    if (!(value > 0) || std::isinf(value)) call.refuse("the scale {} is not finite and positive", value);
  result.dtype = zero_point ? zero_point->dtype : otherwise;
  result.zero_point.resize(result.scale.size(), 0);
  if (!zero_point) return result;
  if (result.dtype != DType::kI8 && result.dtype != DType::kU8 && result.dtype != DType::kI16 &&
      result.dtype != DType::kI32)
    call.refuse("the zero point is {}", name_of(result.dtype));
  const bool one = zero_point->count() == 1;
  if (!one && zero_point->shape != scale.shape)
    call.refuse("the zero point's shape {} is not the scale's {}", to_string(zero_point->shape),
                to_string(scale.shape));
  const std::vector<int64_t> values = to_int64(zero_point->view());
  for (size_t i = 0; i < result.zero_point.size(); ++i)
    result.zero_point[i] = static_cast<int32_t>(values[one ? 0 : i]);
  return result;
}

Quantizer quantizer_of_tensor(const Call& call, const Tensor& scale, const Tensor* zero_point,
                              DType otherwise) {
  if (scale.count() != 1) call.refuse("the scale has the shape {}, not one element", to_string(scale.shape));
  if (zero_point && zero_point->count() != 1)
    call.refuse("the zero point has the shape {}, not one element", to_string(zero_point->shape));
  return quantizer_of(call, {}, reshaped(scale, {}), zero_point, otherwise, 0);
}

namespace {

using QuantizedTypes = Types<int8_t, uint8_t, int16_t>;
using DequantizedTypes = Types<int8_t, uint8_t, int16_t, int32_t>;

std::vector<Tensor> quantize(const Call& call) {
  Tensor x = call.input(0);
  if (x.dtype == DType::kI32)
    x = map<int32_t, float>(call, x, DType::kF32, [](int32_t v) { return static_cast<float>(v); });
  call.require(x, DType::kF32, "the operand");
  const int64_t asked = call.node.integer("output_dtype", 0);
  const DType otherwise = asked == 0 ? DType::kU8 : element_type(call, asked);
  const Quantizer by =
      quantizer_of(call, x.shape, call.input(1), call.optional(2), otherwise, call.node.integer("axis", 1));
  if (asked != 0 && by.dtype != otherwise)
    call.refuse("output_dtype is {}, the zero point {}", name_of(otherwise), name_of(by.dtype));
  WritableTensor out = call.allocate(by.dtype, x.shape);
  with_type(call, by.dtype, QuantizedTypes{}, [&]<class Code>(Type<Code>) {
    const float* from = x.as<float>().data();
    Code* to = out.as<Code>();
    if (by.scale.size() == 1) {
      const float scale = by.scale[0];
      const int32_t zero = by.zero_point[0];
      call.parallel(x.count(), kElementGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) to[i] = quantized<Code>(from[i] / scale, zero);
      });
      return;
    }
    const auto pairs = static_cast<int64_t>(by.scale.size());
    for (int64_t i = 0, count = x.count(); i < count; ++i) {
      const auto pair = static_cast<size_t>(i / by.inner % pairs);
      to[i] = quantized<Code>(from[i] / by.scale[pair], by.zero_point[pair]);
    }
  });
  return {out.tensor};
}

std::vector<Tensor> dequantize(const Call& call) {
  const Tensor& x = call.input(0);
  const Quantizer by =
      quantizer_of(call, x.shape, call.input(1), call.optional(2), x.dtype, call.node.integer("axis", 1));
  if (by.dtype != x.dtype)
    call.refuse("codes are {}, the zero point {}", name_of(x.dtype), name_of(by.dtype));
  WritableTensor out = call.allocate(DType::kF32, x.shape);
  const auto pairs = static_cast<int64_t>(by.scale.size());
  with_type(call, x.dtype, DequantizedTypes{}, [&]<class Code>(Type<Code>) {
    const Code* from = x.as<Code>().data();
    float* to = out.as<float>();
    const auto value = [](Code code, int32_t zero, float scale) {
      return static_cast<float>(int64_t{code} - zero) * scale;
    };
    call.parallel(x.count(), kElementGrain, [&](int64_t begin, int64_t end) {
      if (pairs == 1) {
        for (int64_t i = begin; i < end; ++i) to[i] = value(from[i], by.zero_point[0], by.scale[0]);
        return;
      }
      for (int64_t i = begin; i < end; ++i) {
        const auto pair = static_cast<size_t>(i / by.inner % pairs);
        to[i] = value(from[i], by.zero_point[pair], by.scale[pair]);
      }
    });
  });
  return {out.tensor};
}

std::string check_linear(const Node& node) {
  if (const int64_t block = node.integer("block_size", 0))
    return fmt::format("blocks of {} elements with a scale each are not supported", block);
  const int64_t type = node.integer("output_dtype", 0);
  if (type != 0 && !has_element_type(type)) return fmt::format("output_dtype {} is not supported", type);
  return "";
}

std::vector<Tensor> quantize_dynamically(const Call& call) {
  const Tensor& x = call.input(0);
  call.require(x, DType::kF32, "the operand");
  float low = 0, high = 0;
  for (const float v : x.as<float>()) {
    low = v < low ? v : low;
    high = v > high ? v : high;
  }
  WritableTensor scale = call.allocate(DType::kF32, {}), zero = call.allocate(DType::kU8, {});
  WritableTensor codes = call.allocate(DType::kU8, x.shape);
  // An operand of zeros has no range; any scale says the same.
  const float step = high == low ? 1.0f : (high - low) / 255.0f;
  if (std::isinf(step)) call.refuse("the operand's range {} to {} is not finite", low, high);
  const uint8_t zero_point = quantized<uint8_t>(0.0f - low / step, 0);
  *scale.as<float>() = step;
  *zero.as<uint8_t>() = zero_point;
  uint8_t* to = codes.as<uint8_t>();
  const float* from = x.as<float>().data();
  call.parallel(x.count(), kElementGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = quantized<uint8_t>(from[i] / step, zero_point);
  });
  return {codes.tensor, scale.tensor, zero.tensor};
}

}  // namespace

std::span<const Operator> quantization_operators() {
  static const Operator rows[] = {
      {.name = "QuantizeLinear", .function = quantize, .check = check_linear, .inputs = 2},
      {.name = "DequantizeLinear", .function = dequantize, .check = check_linear, .inputs = 2},
      {.name = "com.microsoft.QuantizeLinear", .function = quantize, .check = check_linear, .inputs = 2},
      {.name = "com.microsoft.DequantizeLinear", .function = dequantize, .check = check_linear, .inputs = 2},
      {.name = "DynamicQuantizeLinear", .function = quantize_dynamically},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
