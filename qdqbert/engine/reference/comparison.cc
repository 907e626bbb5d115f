// Equal Less Greater LessOrEqual GreaterOrEqual And Or Not IsNaN Where.
#include <functional>

#include "qdqbert/engine/reference/zip.h"

namespace qdqbert::engine::reference {

namespace {

template <class F>
std::vector<Tensor> compare(const Call& call) {
  const Tensor &a = call.input(0), &b = call.input(1);
  call.require_same_type(a, b);
  Tensor out;
  with_type(call, a.dtype == DType::kBool ? DType::kU8 : a.dtype, NumericTypes{}, [&]<class T>(Type<T>) {
    out = zip<T, T, uint8_t>(call, a, b, DType::kBool, [](T x, T y) { return F{}(x, y) ? 1 : 0; });
  });
  return {out};
}

template <class F>
std::vector<Tensor> logical(const Call& call) {
  const Tensor &a = call.input(0), &b = call.input(1);
  call.require(a, DType::kBool, "an operand");
  call.require(b, DType::kBool, "an operand");
  return {zip<uint8_t, uint8_t, uint8_t>(call, a, b, DType::kBool,
                                         [](uint8_t x, uint8_t y) { return F{}(x != 0, y != 0) ? 1 : 0; })};
}

std::vector<Tensor> negate(const Call& call) {
  call.require(call.input(0), DType::kBool, "the operand");
  return {map<uint8_t, uint8_t>(call, call.input(0), DType::kBool, [](uint8_t x) { return x ? 0 : 1; })};
}

std::vector<Tensor> is_nan(const Call& call) {
  Tensor out;
  with_type(call, call.input(0).dtype, FloatTypes{}, [&]<class T>(Type<T>) {
    out = map<T, uint8_t>(call, call.input(0), DType::kBool, [](T x) { return x != x ? 1 : 0; });
  });
  return {out};
}

std::vector<Tensor> where(const Call& call) {
  const Tensor &condition = call.input(0), &a = call.input(1), &b = call.input(2);
  call.require(condition, DType::kBool, "the condition");
  call.require_same_type(a, b);
  WritableTensor out =
      call.allocate(a.dtype, call.broadcast(condition.shape, call.broadcast(a.shape, b.shape)));
  const Shape& shape = out.tensor.shape;
  const StridedWalk<3> walk(shape, {broadcast_strides(condition.shape, shape),
                                    broadcast_strides(a.shape, shape), broadcast_strides(b.shape, shape)});
  const auto& steps = walk.inner_strides();
  const uint8_t* choose = condition.as<uint8_t>().data();
  with_width(a.dtype, [&]<class T>(Type<T>) {
    const T *from_a = a.as<T>().data(), *from_b = b.as<T>().data();
    T* to = out.as<T>();
    call.parallel(out.tensor.count(), kElementGrain, [&](int64_t begin, int64_t end) {
      walk.walk(begin, end, [&](int64_t position, const std::array<int64_t, 3>& at, int64_t count) {
        for (int64_t i = 0; i < count; ++i)
          to[position + i] =
              choose[at[0] + i * steps[0]] ? from_a[at[1] + i * steps[1]] : from_b[at[2] + i * steps[2]];
      });
    });
  });
  return {out.tensor};
}

}  // namespace

std::span<const Operator> comparison_operators() {
  static const Operator rows[] = {
      {.name = "Equal", .function = compare<std::equal_to<>>, .inputs = 2},
      {.name = "Less", .function = compare<std::less<>>, .inputs = 2},
      {.name = "Greater", .function = compare<std::greater<>>, .inputs = 2},
      {.name = "LessOrEqual", .function = compare<std::less_equal<>>, .inputs = 2},
      {.name = "GreaterOrEqual", .function = compare<std::greater_equal<>>, .inputs = 2},
      {.name = "And", .function = logical<std::logical_and<>>, .inputs = 2},
      {.name = "Or", .function = logical<std::logical_or<>>, .inputs = 2},
      {.name = "Not", .function = negate},
      {.name = "IsNaN", .function = is_nan},
      {.name = "Where", .function = where, .half = Half::kAsIs, .inputs = 3},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
