// Operators that leave the elements where they are, or only tell sizes: Identity Dropout Reshape Flatten
// Squeeze Unsqueeze Shape Size.
#include "qdqbert/engine/reference/strided.h"
#include "qdqbert/engine/reference/types.h"

namespace qdqbert::engine::reference {

namespace {

std::vector<Tensor> identity(const Call& call) {
  return {call.input(0)};
}

std::vector<Tensor> dropout(const Call& call) {
  const Tensor& x = call.input(0);
  if (const Tensor* training = call.optional(2)) {
    call.require(*training, DType::kBool, "training_mode");
    if (training->count() != 1) call.refuse("training_mode has the shape {}", to_string(training->shape));
    if (training->as<uint8_t>()[0]) call.refuse("training_mode is set, only inference is supported");
  }
  std::vector<Tensor> outputs{x};
  if (call.wants(1)) {
    WritableTensor mask = call.allocate(DType::kBool, x.shape);
    std::fill_n(mask.as<uint8_t>(), x.count(), uint8_t{1});
    outputs.push_back(mask.tensor);
  }
  return outputs;
}

std::vector<Tensor> reshape(const Call& call) {
  const Tensor& x = call.input(0);
  Shape shape = call.integers(call.input(1), "the new shape");
  const bool zero_is_kept = call.node.integer("allowzero", 0) == 0;
  int64_t known = 1, open = -1;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] == 0 && zero_is_kept) {
      if (d >= x.shape.size())
        call.refuse("dimension {} is to be kept, the operand is {}", d, to_string(x.shape));
      shape[d] = x.shape[d];
    }
    if (shape[d] == -1) {
      if (open >= 0) call.refuse("two sizes of the new shape {} are -1", to_string(shape));
      open = static_cast<int64_t>(d);
    } else if (shape[d] < 0) {
      call.refuse("the new shape {} has a negative size", to_string(shape));
    } else if (__builtin_mul_overflow(known, shape[d], &known)) {
      call.refuse("the new shape {} has more than 2^63 elements", to_string(shape));
    }
  }
  const int64_t count = x.count();
  if (open >= 0) {
    if (known == 0 || count % known != 0)
      call.refuse("{} does not fit the new shape {}", to_string(x.shape), to_string(shape));
    shape[static_cast<size_t>(open)] = count / known;
  } else if (known != count) {
    call.refuse("{} does not fit the new shape {}", to_string(x.shape), to_string(shape));
  }
  return {reshaped(x, shape)};
}

std::vector<Tensor> flatten(const Call& call) {
  const Tensor& x = call.input(0);
  const int64_t axis = call.node.integer("axis", 1);
  const auto rank = static_cast<int64_t>(x.shape.size());
  if (axis < -rank || axis > rank) call.refuse("axis {} does not fit {}", axis, to_string(x.shape));
  const auto middle = x.shape.begin() + (axis < 0 ? axis + rank : axis);
  return {reshaped(x, {call.count({x.shape.begin(), middle}), call.count({middle, x.shape.end()})})};
}

/// Axes from the attribute (before operator set 13) or from input 1.
std::vector<int64_t> axes_of(const Call& call) {
  if (const Tensor* axes = call.optional(1)) return call.integers(*axes, "axes");
  return call.node.integers("axes", {});
}

std::vector<bool> marked(const Call& call, const std::vector<int64_t>& axes, size_t rank) {
  std::vector<bool> marks(rank, false);
  for (const int64_t axis : axes) {
    const size_t position = call.axis(axis, rank);
    if (marks[position]) call.refuse("axis {} is named twice", axis);
    marks[position] = true;
  }
  return marks;
}

std::vector<Tensor> squeeze(const Call& call) {
  const Tensor& x = call.input(0);
  const std::vector<int64_t> axes = axes_of(call);
  const std::vector<bool> drop = marked(call, axes, x.shape.size());
  Shape shape;
  for (size_t d = 0; d < x.shape.size(); ++d) {
    if (drop[d] && x.shape[d] != 1)
      call.refuse("dimension {} of {} is not 1 and cannot be dropped", d, to_string(x.shape));
    if (!(axes.empty() ? x.shape[d] == 1 : drop[d])) shape.push_back(x.shape[d]);
  }
  return {reshaped(x, shape)};
}

std::vector<Tensor> unsqueeze(const Call& call) {
  const Tensor& x = call.input(0);
  const std::vector<int64_t> axes = axes_of(call);
  const std::vector<bool> added = marked(call, axes, x.shape.size() + axes.size());
  Shape shape;
  size_t next = 0;
  for (const bool one : added) shape.push_back(one ? 1 : x.shape[next++]);
  return {reshaped(x, shape)};
}

std::vector<Tensor> shape(const Call& call) {
  const Shape& sizes = call.input(0).shape;
  const auto rank = static_cast<int64_t>(sizes.size());
  const auto clamped = [&](int64_t position) {
    return std::clamp<int64_t>(position < 0 ? position + rank : position, 0, rank);
  };
  const int64_t begin = clamped(call.node.integer("start", 0));
  const int64_t end = std::max(begin, clamped(call.node.integer("end", rank)));
  WritableTensor out = call.allocate(DType::kI64, {end - begin});
  std::copy(sizes.begin() + begin, sizes.begin() + end, out.as<int64_t>());
  return {out.tensor};
}

std::vector<Tensor> size(const Call& call) {
  WritableTensor out = call.allocate(DType::kI64, {});
  *out.as<int64_t>() = call.input(0).count();
  return {out.tensor};
}

}  // namespace

std::span<const Operator> shape_operators() {
  static const Operator rows[] = {
      {.name = "Identity", .function = identity, .half = Half::kAsIs},
      {.name = "Dropout", .function = dropout, .half = Half::kAsIs},
      {.name = "Reshape", .function = reshape, .half = Half::kAsIs, .inputs = 2},
      {.name = "Flatten", .function = flatten, .half = Half::kAsIs},
      {.name = "Squeeze", .function = squeeze, .half = Half::kAsIs},
      {.name = "Unsqueeze", .function = unsqueeze, .half = Half::kAsIs},
      {.name = "Shape", .function = shape, .half = Half::kAsIs},
      {.name = "Size", .function = size, .half = Half::kAsIs},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
