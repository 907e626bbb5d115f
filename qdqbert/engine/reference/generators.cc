// Range, ConstantOfShape and CumSum.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "qdqbert/engine/reference/strided.h"
#include "qdqbert/engine/reference/types.h"

namespace qdqbert::engine::reference {

namespace {

template <class T>
int64_t length(const Call& call, T start, T limit, T delta) {
  if (delta == T{0}) call.refuse("the step is 0");
  if constexpr (std::is_floating_point_v<T>) {
    const double steps =
        std::ceil((static_cast<double>(limit) - static_cast<double>(start)) / static_cast<double>(delta));
    if (!(steps < 0x1p62)) call.refuse("{} to {} by {} is no range", start, limit, delta);
    return std::max<int64_t>(static_cast<int64_t>(std::max(steps, 0.0)), 0);
  } else {
    if (delta > 0 ? start >= limit : start <= limit) return 0;
    // Distances of int64 may need 64 unsigned bits.
    const auto wide = [](T v) { return static_cast<uint64_t>(static_cast<int64_t>(v)); };
    const uint64_t distance = delta > 0 ? wide(limit) - wide(start) : wide(start) - wide(limit);
    const uint64_t step = delta > 0 ? wide(delta) : uint64_t{0} - wide(delta);
    const uint64_t steps = (distance - 1) / step + 1;
    if (steps >> 62) call.refuse("{} to {} by {} has too many elements", start, limit, delta);
    return static_cast<int64_t>(steps);
  }
}

std::vector<Tensor> range(const Call& call) {
  const Tensor& start = call.input(0);
  WritableTensor out;
  with_type(call, start.dtype, Types<float, double, int64_t, int32_t, int16_t>{}, [&]<class T>(Type<T>) {
    T values[3];
    for (size_t i = 0; i < 3; ++i) {
      const Tensor& value = call.input(i);
      call.require_same_type(start, value);
      if (value.count() != 1)
        call.refuse("input {} has the shape {}, not one element", i, to_string(value.shape));
      values[i] = value.as<T>()[0];
    }
    const int64_t count = length(call, values[0], values[1], values[2]);
    out = call.allocate(start.dtype, {count});
    for (int64_t i = 0; i < count; ++i) {
      if constexpr (std::is_floating_point_v<T>)
        out.as<T>()[i] = values[0] + static_cast<T>(i) * values[2];
      else
        out.as<T>()[i] = static_cast<T>(static_cast<uint64_t>(values[0]) +
                                        static_cast<uint64_t>(i) * static_cast<uint64_t>(values[2]));
    }
  });
  return {out.tensor};
}

std::vector<Tensor> constant_of_shape(const Call& call) {
  const Shape shape = call.integers(call.input(0), "the shape");
  const auto found = call.node.attributes.find("value");
  if (found == call.node.attributes.end()) {
    WritableTensor out = call.allocate(DType::kF32, shape);
    std::memset(out.data, 0, out.tensor.bytes.size());
    return {out.tensor};
  }
  const auto* value = std::get_if<Tensor>(&found->second);
  if (!value || value->count() != 1) call.refuse("value must be a tensor of one element");
  WritableTensor out = call.allocate(value->dtype, shape);
  with_width(value->dtype,
             [&]<class T>(Type<T>) { std::fill_n(out.as<T>(), out.tensor.count(), value->as<T>()[0]); });
  return {out.tensor};
}

std::vector<Tensor> cumulative_sum(const Call& call) {
  const Tensor &x = call.input(0), &axis_input = call.input(1);
  const std::vector<int64_t> axes = call.integers(axis_input, "axis");
  if (axes.size() != 1) call.refuse("axis has the shape {}, not one element", to_string(axis_input.shape));
  const size_t axis = call.axis(axes[0], x.shape.size());
  const bool exclusive = call.node.integer("exclusive", 0) != 0,
             reverse = call.node.integer("reverse", 0) != 0;
  WritableTensor out = call.allocate(x.dtype, x.shape);
  const int64_t stride = strides_of(x.shape)[axis], size = x.shape[axis];
  with_type(call, x.dtype, ArithmeticTypes{}, [&]<class T>(Type<T>) {
    const T* from = x.as<T>().data();
    T* to = out.as<T>();
    const int64_t count = x.count();
    for (int64_t line = 0; size > 0 && line < count / size; ++line) {
      const int64_t base = line / stride * stride * size + line % stride;
      // Integers wrap around; the sum of unsigned numbers is defined.
      using Sum = typename std::conditional_t<std::is_floating_point_v<T>, std::type_identity<T>,
                                              std::make_unsigned<T>>::type;
      Sum sum{0};
      for (int64_t i = 0; i < size; ++i) {
        const int64_t at = base + (reverse ? size - 1 - i : i) * stride;
        const Sum before = sum;
        sum += static_cast<Sum>(from[at]);
        to[at] = static_cast<T>(exclusive ? before : sum);
      }
    }
  });
  return {out.tensor};
}

}  // namespace

std::span<const Operator> generator_operators() {
  static const Operator rows[] = {
      {.name = "Range", .function = range, .inputs = 3},
      {.name = "ConstantOfShape", .function = constant_of_shape, .half = Half::kAsIs},
      {.name = "CumSum", .function = cumulative_sum, .inputs = 2},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
