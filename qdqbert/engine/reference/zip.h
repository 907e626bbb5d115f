// Functions of one or two elements, applied to whole tensors with numpy's broadcasting.
#pragma once

#include "qdqbert/engine/reference/strided.h"
#include "qdqbert/engine/reference/types.h"

namespace qdqbert::engine::reference {

inline constexpr int64_t kElementGrain = 1 << 14;

/// out[i] = one(a[i]). A and R are storage types; `dtype` is the result's.
template <class A, class R, class One>
Tensor map(const Call& call, const Tensor& a, DType dtype, const One& one) {
  WritableTensor out = call.allocate(dtype, a.shape);
  const A* from = a.as<A>().data();
  R* to = out.as<R>();
  call.parallel(a.count(), kElementGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = one(from[i]);
  });
  return out.tensor;
}

/// out[i] = both(a[i], b[i]) over the broadcast shape.
template <class A, class B, class R, class Both>
Tensor zip(const Call& call, const Tensor& a, const Tensor& b, DType dtype, const Both& both) {
  WritableTensor out = call.allocate(dtype, call.broadcast(a.shape, b.shape));
  const Shape& shape = out.tensor.shape;
  const StridedWalk<2> walk(shape, {broadcast_strides(a.shape, shape), broadcast_strides(b.shape, shape)});
  const int64_t a_step = walk.inner_strides()[0], b_step = walk.inner_strides()[1];
  const A* from_a = a.as<A>().data();
  const B* from_b = b.as<B>().data();
  R* to = out.as<R>();
  call.parallel(out.tensor.count(), kElementGrain, [&](int64_t begin, int64_t end) {
    walk.walk(begin, end, [&](int64_t position, const std::array<int64_t, 2>& offsets, int64_t count) {
      const A* x = from_a + offsets[0];
      const B* y = from_b + offsets[1];
      R* r = to + position;
      if (a_step == 1 && b_step == 1) {
        for (int64_t i = 0; i < count; ++i) r[i] = both(x[i], y[i]);
      } else if (a_step == 1 && b_step == 0) {
        const B value = *y;
        for (int64_t i = 0; i < count; ++i) r[i] = both(x[i], value);
      } else if (a_step == 0 && b_step == 1) {
        const A value = *x;
        for (int64_t i = 0; i < count; ++i) r[i] = both(value, y[i]);
      } else {
        for (int64_t i = 0; i < count; ++i) r[i] = both(x[i * a_step], y[i * b_step]);
      }
    });
  });
  return out.tensor;
}

}  // namespace qdqbert::engine::reference
