// Operators that move elements and compute with sizes.
#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "qdqbert/engine/reference/table.h"

namespace qdqbert::engine::reference {

namespace {

Tensor integers(const Node& node, Shape shape, const std::vector<int64_t>& values) {
  WritableTensor out = new_tensor(node, DType::kI64, shape);
  std::copy(values.begin(), values.end(), out.as<int64_t>());
  return out.tensor;
}

/// The same elements under another shape.
Tensor reshaped(const Tensor& tensor, Shape shape) {
  Tensor out = tensor;
  out.shape = std::move(shape);
  return out;
}

std::vector<Tensor> identity(const Node&, Inputs in) {
  return {*in[0]};
}

std::vector<Tensor> dropout(const Node& n, Inputs in) {
  if (n.outputs.size() < 2) return {*in[0]};
  WritableTensor mask = new_tensor(n, DType::kBool, in[0]->shape);
  std::memset(mask.data, 1, static_cast<size_t>(mask.tensor.count()));
  return {*in[0], mask.tensor};
}

std::vector<Tensor> shape_of(const Node& n, Inputs in) {
  const Shape& shape = in[0]->shape;
  const auto rank = static_cast<int64_t>(shape.size());
  const auto clamped = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank); };
  const int64_t begin = clamped(n.integer("start", 0));
  const int64_t end = std::max(begin, clamped(n.integer("end", rank)));
  return {integers(n, {end - begin}, {shape.begin() + begin, shape.begin() + end})};
}

std::vector<Tensor> size_of_tensor(const Node& n, Inputs in) {
  return {integers(n, {}, {element_count(in[0]->shape)})};
}

/// Elements of `rows` x `inner` bytes picked along an axis.
Tensor pick(const Node& n, const Tensor& x, size_t axis, const std::vector<int64_t>& indices,
            const Shape& index_shape) {
  const int64_t size = x.shape[axis];
  Shape shape(x.shape.begin(), x.shape.begin() + static_cast<std::ptrdiff_t>(axis));
  shape.insert(shape.end(), index_shape.begin(), index_shape.end());
  shape.insert(shape.end(), x.shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.shape.end());
  WritableTensor out = new_tensor(n, x.dtype, shape);
  const int64_t outer =
      element_count(Shape(x.shape.begin(), x.shape.begin() + static_cast<std::ptrdiff_t>(axis)));
  const size_t inner =
      size_of(x.dtype) * static_cast<size_t>(element_count(
                             Shape(x.shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.shape.end())));
  std::byte* to = out.data;
  for (int64_t o = 0; o < outer; ++o)
    for (const int64_t given : indices) {
      const int64_t index = given < 0 ? given + size : given;
      if (index < 0 || index >= size) fail_node(n, "index {} of an axis of {}", given, size);
      if (inner > 0) std::memcpy(to, x.bytes.data() + static_cast<size_t>(o * size + index) * inner, inner);
      to += inner;
    }
  return out.tensor;
}

std::vector<Tensor> gather(const Node& n, Inputs in) {
  const size_t axis = checked_axis(n, n.integer("axis", 0), in[0]->shape.size());
  return {pick(n, *in[0], axis, integers_of(n, *in[1]), in[1]->shape)};
}

std::vector<Tensor> slice(const Node& n, Inputs in) {
  Tensor x = *in[0];
  const std::vector<int64_t> starts = integers_of(n, *in[1]), ends = integers_of(n, *in[2]);
  std::vector<int64_t> axes(starts.size()), steps(starts.size(), 1);
  std::iota(axes.begin(), axes.end(), 0);
  if (const Tensor* given = optional_input(in, 3)) axes = integers_of(n, *given);
  if (const Tensor* given = optional_input(in, 4)) steps = integers_of(n, *given);
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    fail_node(n, "{} starts, {} ends, {} axes, {} steps", starts.size(), ends.size(), axes.size(),
              steps.size());
  for (size_t i = 0; i < starts.size(); ++i) {
    const size_t axis = checked_axis(n, axes[i], x.shape.size());
    const int64_t size = x.shape[axis], step = steps[i];
    if (step == 0) fail_node(n, "a step of 0");
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    const auto clamped = [&](int64_t at, int64_t least) {
      if (at < 0) at = at < -size ? least : at + size;
      return std::clamp(at, least, high);
    };
    const int64_t start = clamped(starts[i], step > 0 ? 0 : 0);
    int64_t end = ends[i];
    end = step < 0 && end < -size ? -1 : clamped(end, low);
    std::vector<int64_t> kept;
    if (size > 0) {
      // A step beyond the axis takes one element, and must not overflow on its way.
      const int64_t bounded = std::clamp<int64_t>(step, -size - 1, size + 1);
      for (int64_t at = start; step > 0 ? at < end : at > end; at += bounded) kept.push_back(at);
    }
    x = pick(n, x, axis, kept, {static_cast<int64_t>(kept.size())});
  }
  return {x};
}

std::vector<Tensor> split(const Node& n, Inputs in) {
  const Tensor& x = *in[0];
  const size_t axis = checked_axis(n, n.integer("axis", 0), x.shape.size());
  const int64_t size = x.shape[axis];
  const auto count = static_cast<int64_t>(n.outputs.size());
  std::vector<int64_t> sizes = n.integers("split", {});
  if (const Tensor* given = optional_input(in, 1)) sizes = integers_of(n, *given);
  if (sizes.empty()) {
    const int64_t each = (size + count - 1) / std::max<int64_t>(count, 1);
    for (int64_t i = 0, left = size; i < count; ++i, left -= each)
      sizes.push_back(std::max<int64_t>(0, std::min(each, left)));
  }
  int64_t total = 0;
  for (const int64_t s : sizes) {
    if (s < 0 || s > size) fail_node(n, "a part of {} of an axis of {}", s, size);
    total += s;
  }
  if (total != size || sizes.size() != n.outputs.size())
    fail_node(n, "{} parts of {} together, for {} outputs and an axis of {}", sizes.size(), total, count,
              size);
  std::vector<Tensor> out;
  int64_t begin = 0;
  for (const int64_t s : sizes) {
    std::vector<int64_t> kept(static_cast<size_t>(s));
    std::iota(kept.begin(), kept.end(), begin);
    out.push_back(pick(n, x, axis, kept, {s}));
    begin += s;
  }
  return out;
}

std::vector<int64_t> axes_of(const Node& n, Inputs in) {
  if (const Tensor* given = optional_input(in, 1)) return integers_of(n, *given);
  return n.integers("axes", {});
}

std::vector<Tensor> squeeze(const Node& n, Inputs in) {
  const Shape& shape = in[0]->shape;
  const std::vector<int64_t> axes = axes_of(n, in);
  std::vector<bool> drop(shape.size(), false);
  for (const int64_t given : axes) {
    const size_t axis = checked_axis(n, given, shape.size());
    if (shape[axis] != 1) fail_node(n, "axis {} of shape {} is not of size 1", given, to_string(shape));
    drop[axis] = true;
  }
  Shape out;
  for (size_t i = 0; i < shape.size(); ++i)
    if (!(drop[i] || (axes.empty() && shape[i] == 1))) out.push_back(shape[i]);
  return {reshaped(*in[0], out)};
}

std::vector<Tensor> unsqueeze(const Node& n, Inputs in) {
  const Shape& shape = in[0]->shape;
  const std::vector<int64_t> axes = axes_of(n, in);
  const size_t rank = shape.size() + axes.size();
  std::vector<bool> added(rank, false);
  for (const int64_t given : axes) {
    const size_t axis = checked_axis(n, given, rank);
    if (added[axis]) fail_node(n, "axis {} is added twice", given);
    added[axis] = true;
  }
  Shape out;
  for (size_t i = 0, from = 0; i < rank; ++i) out.push_back(added[i] ? 1 : shape[from++]);
  return {reshaped(*in[0], out)};
}

std::vector<Tensor> reshape(const Node& n, Inputs in) {
  Shape to = integers_of(n, *in[1]);
  const Shape& from = in[0]->shape;
  const int64_t total = element_count(from);
  int64_t known = 1;
  std::optional<size_t> open;
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i] == 0 && n.integer("allowzero", 0) == 0) {
      if (i >= from.size())
        fail_node(n, "target {} copies axis {} of shape {}", to_string(to), i, to_string(from));
      to[i] = from[i];
    }
    if (to[i] == -1) {
      if (open) fail_node(n, "target {} leaves two sizes open", to_string(to));
      open = i;
      continue;
    }
    if (to[i] < 0 || (to[i] > 0 && known > std::numeric_limits<int64_t>::max() / to[i]))
      fail_node(n, "target {} is no shape", to_string(to));
    known *= to[i];
  }
  if (open && known > 0 && total % known == 0) {
    to[*open] = total / known;
    known *= to[*open];
  }
  if (known != total || (open && to[*open] < 0))
    fail_node(n, "shape {} does not become {}", to_string(from), to_string(to));
  return {reshaped(*in[0], to)};
}

std::vector<Tensor> flatten(const Node& n, Inputs in) {
  const Shape& shape = in[0]->shape;
  int64_t axis = n.integer("axis", 1);
  if (axis < 0) axis += static_cast<int64_t>(shape.size());
  if (axis < 0 || axis > static_cast<int64_t>(shape.size()))
    fail_node(n, "axis {} of {}", axis, to_string(shape));
  return {reshaped(*in[0], {element_count(Shape(shape.begin(), shape.begin() + axis)),
                            element_count(Shape(shape.begin() + axis, shape.end()))})};
}

std::vector<Tensor> transpose(const Node& n, Inputs in) {
  const Tensor& x = *in[0];
  const size_t rank = x.shape.size();
  std::vector<int64_t> order = n.integers("perm", {});
  if (order.empty())
    for (size_t i = rank; i-- > 0;) order.push_back(static_cast<int64_t>(i));
  if (order.size() != rank) fail_node(n, "an order of {} axes for {}", order.size(), to_string(x.shape));
  std::vector<bool> seen(rank, false);
  Shape shape;
  std::vector<size_t> strides(rank, 1), step(rank);
  for (size_t i = rank; i-- > 1;) strides[i - 1] = strides[i] * static_cast<size_t>(x.shape[i]);
  for (size_t i = 0; i < rank; ++i) {
    const size_t axis = checked_axis(n, order[i], rank);
    if (seen[axis]) fail_node(n, "axis {} stands twice", axis);
    seen[axis] = true;
    shape.push_back(x.shape[axis]);
    step[i] = strides[axis];
  }
  WritableTensor out = new_tensor(n, x.dtype, shape);
  const size_t size = size_of(x.dtype), count = static_cast<size_t>(out.tensor.count());
  if (count == 0) return {out.tensor};
  if (rank == 0) return {x};
  std::vector<size_t> at(rank, 0);
  size_t from = 0;
  const size_t last = rank - 1, inner = static_cast<size_t>(shape[last]);
  for (size_t to = 0; to < count; to += inner) {
    for (size_t j = 0; j < inner; ++j)
      std::memcpy(out.data + (to + j) * size, x.bytes.data() + (from + j * step[last]) * size, size);
    for (size_t i = last; i-- > 0;) {
      from += step[i];
      if (++at[i] < static_cast<size_t>(shape[i])) break;
      from -= step[i] * at[i];
      at[i] = 0;
    }
  }
  return {out.tensor};
}

std::vector<Tensor> concat(const Node& n, Inputs in) {
  const size_t axis = checked_axis(n, n.integer("axis", 0), in[0]->shape.size());
  Shape shape = in[0]->shape;
  shape[axis] = 0;
  for (const Tensor* part : in) {
    if (!part) fail_node(n, "an input is left out");
    Shape rest = part->shape;
    if (rest.size() != shape.size() || part->dtype != in[0]->dtype)
      fail_node(n, "parts of {}{} and {}{}", name_of(in[0]->dtype), to_string(in[0]->shape),
                name_of(part->dtype), to_string(rest));
    shape[axis] += rest[axis];
    rest[axis] = in[0]->shape[axis];
    if (rest != in[0]->shape)
      fail_node(n, "parts of {} and {}", to_string(in[0]->shape), to_string(part->shape));
  }
  WritableTensor out = new_tensor(n, in[0]->dtype, shape);
  const size_t size = size_of(in[0]->dtype);
  const auto product = [](auto begin, auto end) {
    return static_cast<size_t>(element_count(Shape(begin, end)));
  };
  const size_t outer = product(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(axis));
  const size_t inner = product(shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, shape.end()) * size;
  std::byte* to = out.data;
  for (size_t o = 0; o < outer; ++o)
    for (const Tensor* part : in) {
      const size_t bytes = static_cast<size_t>(part->shape[axis]) * inner;
      if (bytes > 0) std::memcpy(to, part->bytes.data() + o * bytes, bytes);
      to += bytes;
    }
  return {out.tensor};
}

std::vector<Tensor> expand(const Node& n, Inputs in) {
  const Shape shape = broadcast_shape(n, in[0]->shape, integers_of(n, *in[1]));
  WritableTensor out = new_tensor(n, in[0]->dtype, shape);
  const size_t size = size_of(in[0]->dtype), count = static_cast<size_t>(out.tensor.count());
  BroadcastIndex from(in[0]->shape, shape);
  for (size_t i = 0; i < count; ++i, from.advance())
    std::memcpy(out.data + i * size, in[0]->bytes.data() + *from * size, size);
  return {out.tensor};
}

std::vector<Tensor> tile(const Node& n, Inputs in) {
  const std::vector<int64_t> repeats = integers_of(n, *in[1]);
  if (repeats.size() != in[0]->shape.size())
    fail_node(n, "{} repeats for shape {}", repeats.size(), to_string(in[0]->shape));
  Tensor x = *in[0];
  for (size_t axis = 0; axis < repeats.size(); ++axis) {
    if (repeats[axis] < 0 || repeats[axis] > 1 << 20) fail_node(n, "{} repeats", repeats[axis]);
    std::vector<int64_t> indices;
    for (int64_t r = 0; r < repeats[axis]; ++r)
      for (int64_t i = 0; i < x.shape[axis]; ++i) indices.push_back(i);
    x = pick(n, x, axis, indices, {static_cast<int64_t>(indices.size())});
  }
  return {x};
}

std::vector<Tensor> range(const Node& n, Inputs in) {
  if (in[0]->dtype == DType::kF32) fail_node(n, "is not computed for floats");
  const int64_t start = integers_of(n, *in[0]).at(0), limit = integers_of(n, *in[1]).at(0),
                step = integers_of(n, *in[2]).at(0);
  if (step == 0) fail_node(n, "a step of 0");
  constexpr int64_t kMost = int64_t{1} << 32;
  if (std::abs(start) > kMost || std::abs(limit) > kMost || std::abs(step) > kMost)
    fail_node(n, "from {} to {} by {}", start, limit, step);
  const int64_t count = std::max<int64_t>(0, (limit - start + step - (step > 0 ? 1 : -1)) / step);
  WritableTensor out = new_tensor(n, in[0]->dtype, {count});
  for (int64_t i = 0; i < count; ++i) {
    if (in[0]->dtype == DType::kI64)
      out.as<int64_t>()[i] = start + i * step;
    else
      out.as<int32_t>()[i] = static_cast<int32_t>(start + i * step);
  }
  return {out.tensor};
}

std::vector<Tensor> constant_of_shape(const Node& n, Inputs in) {
  const auto found = n.attributes.find("value");
  const Tensor* value = found == n.attributes.end() ? nullptr : std::get_if<Tensor>(&found->second);
  const DType dtype = value ? value->dtype : DType::kF32;
  if (value && value->count() != 1) fail_node(n, "a value of shape {}", to_string(value->shape));
  WritableTensor out = new_tensor(n, dtype, integers_of(n, *in[0]));
  const size_t size = size_of(dtype), count = static_cast<size_t>(out.tensor.count());
  for (size_t i = 0; i < count; ++i) {
    if (value)
      std::memcpy(out.data + i * size, value->bytes.data(), size);
    else
      std::memset(out.data + i * size, 0, size);
  }
  return {out.tensor};
}

std::vector<Tensor> cumulative_sum(const Node& n, Inputs in) {
  const std::vector<int64_t> axes = integers_of(n, *in[1]);
  if (axes.size() != 1 || n.integer("reverse", 0) != 0 || n.integer("exclusive", 0) != 0)
    fail_node(n, "only the plain form over one axis is known");
  const Tensor& x = *in[0];
  const size_t axis = checked_axis(n, axes[0], x.shape.size());
  const std::vector<int64_t> from = integers_of(n, x);
  std::vector<int64_t> sums(from);
  const auto inner = static_cast<size_t>(
      element_count(Shape(x.shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.shape.end())));
  const auto size = static_cast<size_t>(x.shape[axis]);
  for (size_t i = 0; i < sums.size(); ++i)
    if (inner > 0 && i / inner % size > 0)
      sums[i] = static_cast<int64_t>(static_cast<uint64_t>(sums[i]) + static_cast<uint64_t>(sums[i - inner]));
  Tensor out = integers(n, x.shape, sums);
  if (x.dtype == DType::kI64) return {out};
  WritableTensor narrow = new_tensor(n, DType::kI32, x.shape);
  for (size_t i = 0; i < sums.size(); ++i) narrow.as<int32_t>()[i] = static_cast<int32_t>(sums[i]);
  return {narrow.tensor};
}

constexpr Operator kOperators[] = {
    {"Identity", 1, 1, identity},
    {"Dropout", 1, 3, dropout},
    {"Shape", 1, 1, shape_of},
    {"Size", 1, 1, size_of_tensor},
    {"Gather", 2, 2, gather},
    {"Slice", 3, 5, slice},
    {"Split", 1, 2, split},
    {"Squeeze", 1, 2, squeeze},
    {"Unsqueeze", 1, 2, unsqueeze},
    {"Reshape", 2, 2, reshape},
    {"Flatten", 1, 1, flatten},
    {"Transpose", 1, 1, transpose},
    {"Concat", 1, 1024, concat},
    {"Expand", 2, 2, expand},
    {"Tile", 2, 2, tile},
    {"Range", 3, 3, range},
    {"ConstantOfShape", 1, 1, constant_of_shape},
    {"CumSum", 2, 2, cumulative_sum},
};

}  // namespace

std::span<const Operator> shape_operators() {
  return kOperators;
}

}  // namespace qdqbert::engine::reference
