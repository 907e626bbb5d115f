#include "qdqbert/engine/reference/call.h"

#include "qdqbert/engine/element_type.h"

namespace qdqbert::engine::reference {

bool has_element_type(int64_t onnx_type) {
  return engine::find_element_type(onnx_type).has_value();
}

DType element_type(const Call& call, int64_t onnx_type) {
  const auto type = find_element_type(onnx_type);
  if (!type) call.refuse("element type {} of ONNX is not supported", onnx_type);
  return *type;
}

const Tensor& Call::input(size_t index) const {
  const Tensor* tensor = optional(index);
  if (!tensor) refuse("input {} is missing, the node has {}", index, inputs.size());
  return *tensor;
}

int64_t Call::count(const Shape& shape) const {
  int64_t all = 1;
  for (const int64_t size : shape) {
    if (size < 0) refuse("the result's shape {} has a negative size", to_string(shape));
    if (__builtin_mul_overflow(all, size, &all))
      qdqbert::fail<TooLarge>("[onnx] {} ({}): the result's shape {} has more than 2^63 elements", node.name,
                              node.op, to_string(shape));
  }
  return all;
}

WritableTensor Call::allocate(DType dtype, Shape shape) const {
  const int64_t elements = count(shape);
  if (elements > environment.largest_tensor / static_cast<int64_t>(size_of(dtype)))
    qdqbert::fail<TooLarge>("[onnx] {} ({}): a result of {}{} is larger than {} bytes", node.name, node.op,
                            name_of(dtype), to_string(shape), environment.largest_tensor);
  return allocate_tensor(dtype, std::move(shape));
}

size_t Call::axis(int64_t axis, size_t rank) const {
  const auto dimensions = static_cast<int64_t>(rank);
  if (axis < -dimensions || axis >= dimensions)
    refuse("axis {} does not fit a tensor of {} dimensions", axis, rank);
  return static_cast<size_t>(axis < 0 ? axis + dimensions : axis);
}

std::vector<int64_t> Call::integers(const Tensor& tensor, std::string_view what) const {
  if (tensor.dtype != DType::kI64 && tensor.dtype != DType::kI32)
    refuse("{} must be I64 or I32, not {}", what, name_of(tensor.dtype));
  if (tensor.shape.size() > 1)
    refuse("{} must have one dimension, its shape is {}", what, to_string(tensor.shape));
  return to_int64(tensor.view());
}

float Call::real(const Tensor& tensor, std::string_view what) const {
  require(tensor, DType::kF32, what);
  if (tensor.count() != 1) refuse("{} must have one element, its shape is {}", what, to_string(tensor.shape));
  return tensor.as<float>()[0];
}

void Call::require(const Tensor& tensor, DType dtype, std::string_view what) const {
  if (tensor.dtype != dtype) refuse("{} must be {}, not {}", what, name_of(dtype), name_of(tensor.dtype));
}

void Call::require_same_type(const Tensor& a, const Tensor& b) const {
  if (a.dtype != b.dtype) refuse("operands are {} and {}", name_of(a.dtype), name_of(b.dtype));
}

Shape Call::broadcast(const Shape& a, const Shape& b) const {
  Shape out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t x = i < out.size() - a.size() ? 1 : a[i - (out.size() - a.size())];
    const int64_t y = i < out.size() - b.size() ? 1 : b[i - (out.size() - b.size())];
    if (x != y && x != 1 && y != 1) refuse("the shapes {} and {} do not fit", to_string(a), to_string(b));
    out[i] = x == 1 ? y : x;
  }
  return out;
}

Tensor reshaped(const Tensor& tensor, Shape shape) {
  Tensor view = tensor;
  view.shape = std::move(shape);
  return view;
}

}  // namespace qdqbert::engine::reference
