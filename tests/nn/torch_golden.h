// Golden tensors as LibTorch tensors, and comparisons that say where two tensors differ first.
#pragma once

#include <cmath>
#include <cstring>
#include <string>

#include <ATen/ATen.h>

#include "qdqbert/base/error.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/quant/descriptor.h"

#include "tests/support/device.h"

namespace qdqbert::testing {

inline at::Tensor tensor_of(const TensorView& view) {
  const auto copied = [&](at::ScalarType type) {
    at::Tensor tensor = at::empty(view.shape, type);
    std::memcpy(tensor.data_ptr(), view.data.data(), view.data.size());
    return tensor;
  };
  switch (view.dtype) {
    case DType::kF32:
      return copied(at::kFloat);
    case DType::kF64:
      return copied(at::kDouble);
    case DType::kI64:
      return copied(at::kLong);
    case DType::kI32:
      return copied(at::kInt);
    default:
      fail("[golden] tensors of type {} are not expected", name_of(view.dtype));
  }
}

/// On test_device().
inline at::Tensor placed(const TensorView& view) {
  return tensor_of(view).to(test_device());
}

inline at::ScalarType scalar_type_of(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "float64") return at::kDouble;
  if (name == "float16") return at::kHalf;
  if (name == "bfloat16") return at::kBFloat16;
  fail("[golden] unknown type {}", name);
}

/// Empty when shapes agree and |a - b| <= tolerance everywhere, NaN agreeing with NaN and infinities with
/// themselves; otherwise what differs most.
inline std::string difference(const at::Tensor& ours, const at::Tensor& reference, double tolerance = 0.0) {
  if (!ours.defined()) return "no tensor";
  if (!ours.sizes().equals(reference.sizes())) {
    return fmt::format("shape {}, expected {}", to_string(Shape(ours.sizes().vec())),
                       to_string(Shape(reference.sizes().vec())));
  }
  const at::Tensor a = ours.detach().to(at::kCPU, at::kDouble).contiguous().view(-1);
  const at::Tensor b = reference.detach().to(at::kCPU, at::kDouble).contiguous().view(-1);
  const auto *pa = a.data_ptr<double>(), *pb = b.data_ptr<double>();
  double worst = -1;
  int64_t where = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    if (pa[i] == pb[i] || (std::isnan(pa[i]) && std::isnan(pb[i]))) continue;
    double gap = std::abs(pa[i] - pb[i]);
    if (std::isnan(gap)) gap = INFINITY;
    if (gap > tolerance && gap > worst) {
      worst = gap;
      where = i;
    }
  }
  if (worst < 0) return "";
  return fmt::format("element {}: {} instead of {} (tolerance {})", where, pa[where], pb[where], tolerance);
}

inline double number_of(const Json& value) {
  if (!value.is_string()) return value.get<double>();
  const std::string text = value.get<std::string>();
  return text == "nan" ? NAN : text == "inf" ? INFINITY : -INFINITY;
}

/// A descriptor as the golden files of modules write it: constructor arguments,
/// tuples of axes marked outside.
inline quant::QuantDescriptor descriptor_of(Json object, bool axis_is_tuple) {
  if (object.contains("amax") && object["amax"].is_string()) object["amax"] = number_of(object["amax"]);
  quant::QuantDescriptor descriptor = quant::QuantDescriptor::from_json(object);
  if (axis_is_tuple && descriptor.axis) descriptor.axis->form = quant::Axis::Form::kTuple;
  return descriptor;
}

}  // namespace qdqbert::testing
