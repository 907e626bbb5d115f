// Operators that move elements: Transpose Concat Split Slice Expand Tile.
#include <cstring>
#include <numeric>

#include "qdqbert/engine/reference/strided.h"

namespace qdqbert::engine::reference {

namespace {

std::vector<Tensor> transpose(const Call& call) {
  const Tensor& x = call.input(0);
  const size_t rank = x.shape.size();
  std::vector<int64_t> reversed(rank);
  for (size_t d = 0; d < rank; ++d) reversed[d] = static_cast<int64_t>(rank - 1 - d);
  const std::vector<int64_t> perm = call.node.integers("perm", reversed);
  std::vector<bool> seen(rank, false);
  std::vector<size_t> order;
  for (const int64_t axis : perm) {
    const size_t d = call.axis(axis, rank);
    if (seen[d]) call.refuse("perm {} names a dimension twice", to_string(perm));
    seen[d] = true;
    order.push_back(d);
  }
  if (order.size() != rank) call.refuse("perm {} does not fit {}", to_string(perm), to_string(x.shape));
  return {permuted(call, x, order)};
}

std::vector<Tensor> concat(const Call& call) {
  const Tensor& first = call.input(0);
  if (!call.node.attributes.contains("axis")) call.refuse("axis is missing");
  const size_t axis = call.axis(call.node.integer("axis", 0), first.shape.size());
  Shape shape = first.shape;
  for (size_t i = 1; i < call.inputs.size(); ++i) {
    const Tensor& next = call.input(i);
    call.require_same_type(first, next);
    Shape aligned = next.shape;
    if (aligned.size() == shape.size()) aligned[axis] = shape[axis];
    if (aligned != shape)
      call.refuse("{} and {} do not fit along axis {}", to_string(first.shape), to_string(next.shape), axis);
    if (__builtin_add_overflow(shape[axis], next.shape[axis], &shape[axis]))
      call.refuse("sizes along axis {} overflow", axis);
  }
  WritableTensor out = call.allocate(first.dtype, shape);
  const int64_t outer = call.count({shape.begin(), shape.begin() + static_cast<int64_t>(axis)});
  const size_t row = out.tensor.bytes.size() / static_cast<size_t>(std::max<int64_t>(outer, 1));
  size_t column = 0;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const Tensor& next = call.input(i);
    const size_t piece = next.bytes.size() / static_cast<size_t>(std::max<int64_t>(outer, 1));
    if (piece == 0) continue;
    for (int64_t r = 0; r < outer; ++r)
      std::memcpy(out.data + static_cast<size_t>(r) * row + column,
                  next.bytes.data() + static_cast<size_t>(r) * piece, piece);
    column += piece;
  }
  return {out.tensor};
}

/// Indices [begin, begin + size) along an axis: a view where the elements lie together.
Tensor part(const Call& call, const Tensor& x, size_t axis, int64_t begin, int64_t size) {
  Shape shape = x.shape;
  shape[axis] = size;
  const std::vector<int64_t> strides = strides_of(x.shape);
  const bool together = std::all_of(x.shape.begin(), x.shape.begin() + static_cast<int64_t>(axis),
                                    [](int64_t outer) { return outer == 1; });
  if (call.count(shape) == 0) return call.allocate(x.dtype, shape).tensor;
  if (!together) return strided_copy(call, x, shape, strides, begin * strides[axis]);
  const size_t element = size_of(x.dtype);
  Tensor view = reshaped(x, shape);
  view.bytes = x.bytes.subspan(static_cast<size_t>(begin * strides[axis]) * element,
                               static_cast<size_t>(call.count(shape)) * element);
  return view;
}

std::vector<Tensor> split(const Call& call) {
  const Tensor& x = call.input(0);
  const size_t axis = call.axis(call.node.integer("axis", 0), x.shape.size());
  std::vector<int64_t> sizes = call.node.integers("split", {});
  if (const Tensor* given = call.optional(1)) sizes = call.integers(*given, "split");
  const auto parts = static_cast<int64_t>(call.node.outputs.size());
  const int64_t whole = x.shape[axis];
  if (sizes.empty()) {
    if (parts == 0 || call.node.integer("num_outputs", parts) != parts)
      call.refuse("num_outputs is {}, the node has {} outputs", call.node.integer("num_outputs", parts),
                  parts);
    const bool uneven = call.node.attributes.contains("num_outputs");
    if (!uneven && whole % parts != 0) call.refuse("{} does not split into {} equal parts", whole, parts);
    const int64_t each = whole / parts + (whole % parts != 0 ? 1 : 0);
    for (int64_t i = 0, left = whole; i < parts; ++i, left -= sizes.back())
      sizes.push_back(std::min(each, left));
  }
  if (sizes.size() != call.node.outputs.size())
    call.refuse("{} sizes are given, the node has {} outputs", sizes.size(), parts);
  int64_t sum = 0;
  for (const int64_t size : sizes)
    if (size < 0 || __builtin_add_overflow(sum, size, &sum))
      call.refuse("the sizes {} are not acceptable", to_string(sizes));
  if (sum != whole) call.refuse("the sizes {} do not sum up to {}", to_string(sizes), whole);
  std::vector<Tensor> outputs;
  int64_t begin = 0;
  for (const int64_t size : sizes) {
    outputs.push_back(part(call, x, axis, begin, size));
    begin += size;
  }
  return outputs;
}

std::vector<Tensor> slice(const Call& call) {
  const Tensor& x = call.input(0);
  const std::vector<int64_t> starts = call.integers(call.input(1), "starts");
  const std::vector<int64_t> ends = call.integers(call.input(2), "ends");
  std::vector<int64_t> axes(starts.size()), steps(starts.size(), 1);
  std::iota(axes.begin(), axes.end(), 0);
  if (const Tensor* given = call.optional(3)) axes = call.integers(*given, "axes");
  if (const Tensor* given = call.optional(4)) steps = call.integers(*given, "steps");
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    call.refuse("there are {} starts, {} ends, {} axes and {} steps", starts.size(), ends.size(), axes.size(),
                steps.size());
  Shape shape = x.shape;
  std::vector<int64_t> strides = strides_of(x.shape);
  std::vector<bool> seen(x.shape.size(), false);
  int64_t first = 0;
  bool stepped = false;
  size_t cut = 0, cuts = 0;
  int64_t cut_begin = 0;
  for (size_t i = 0; i < starts.size(); ++i) {
    const size_t d = call.axis(axes[i], x.shape.size());
    if (seen[d]) call.refuse("axis {} is named twice", axes[i]);
    seen[d] = true;
    const int64_t size = x.shape[d], step = steps[i];
    if (step == 0) call.refuse("the step of axis {} is 0", axes[i]);
    if (step == std::numeric_limits<int64_t>::min()) call.refuse("the step {} is out of range", step);
    if (size == 0) continue;
    // Positions count from the end when negative; then they are moved to where a loop would stop anyway.
    const auto position = [&](int64_t p, int64_t low, int64_t high) {
      return std::clamp(p < 0 ? p + size : p, low, high);
    };
    const int64_t begin = step > 0 ? position(starts[i], 0, size) : position(starts[i], 0, size - 1);
    const int64_t end = step > 0 ? position(ends[i], 0, size) : position(ends[i], -1, size - 1);
    const int64_t distance = step > 0 ? end - begin : begin - end;
    const int64_t stride = step > 0 ? step : -step;
    shape[d] = distance <= 0 ? 0 : (distance - 1) / stride + 1;
    if (shape[d] != size || step != 1) {
      cut = d;
      cut_begin = begin;
      ++cuts;
    }
    first = static_cast<int64_t>(static_cast<uint64_t>(first) +
                                 static_cast<uint64_t>(wrapping_product(begin, strides[d])));
    // A single element is not stepped from; the product could overflow.
    strides[d] = shape[d] > 1 ? wrapping_product(strides[d], step) : 0;
    stepped |= step != 1;
  }
  if (call.count(shape) == 0) return {call.allocate(x.dtype, shape).tensor};
  if (cuts == 0) return {x};
  if (cuts == 1 && !stepped) return {part(call, x, cut, cut_begin, shape[cut])};
  return {strided_copy(call, x, shape, strides, first)};
}

std::vector<Tensor> expand(const Call& call) {
  const Tensor& x = call.input(0);
  const Shape wanted = call.integers(call.input(1), "the new shape");
  for (const int64_t size : wanted)
    if (size < 0) call.refuse("the new shape {} has a negative size", to_string(wanted));
  const Shape shape = call.broadcast(x.shape, wanted);
  if (call.count(shape) == x.count()) return {reshaped(x, shape)};
  return {strided_copy(call, x, shape, broadcast_strides(x.shape, shape))};
}

std::vector<Tensor> tile(const Call& call) {
  const Tensor& x = call.input(0);
  const std::vector<int64_t> repeats = call.integers(call.input(1), "repeats");
  if (repeats.size() != x.shape.size())
    call.refuse("repeats {} do not fit {}", to_string(repeats), to_string(x.shape));
  const std::vector<int64_t> own = strides_of(x.shape);
  Shape shape, interleaved;
  std::vector<int64_t> strides;
  for (size_t d = 0; d < repeats.size(); ++d) {
    int64_t size = 0;
    if (repeats[d] < 0 || __builtin_mul_overflow(repeats[d], x.shape[d], &size))
      call.refuse("repeats {} are not acceptable", to_string(repeats));
    shape.push_back(size);
    interleaved.insert(interleaved.end(), {repeats[d], x.shape[d]});
    strides.insert(strides.end(), {0, own[d]});
  }
  if (call.count(shape) == 0) return {call.allocate(x.dtype, shape).tensor};
  return {reshaped(strided_copy(call, x, interleaved, strides), shape)};
}

}  // namespace

std::span<const Operator> movement_operators() {
  static const Operator rows[] = {
      {.name = "Transpose", .function = transpose, .half = Half::kAsIs},
      {.name = "Concat", .function = concat, .half = Half::kAsIs},
      {.name = "Split", .function = split, .half = Half::kAsIs},
      {.name = "Slice", .function = slice, .half = Half::kAsIs, .inputs = 3},
      {.name = "Expand", .function = expand, .half = Half::kAsIs, .inputs = 2},
      {.name = "Tile", .function = tile, .half = Half::kAsIs, .inputs = 2},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
