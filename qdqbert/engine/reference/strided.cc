#include "qdqbert/engine/reference/strided.h"

#include <cstring>
#include <numeric>

#include "qdqbert/engine/reference/types.h"

namespace qdqbert::engine::reference {

namespace {
constexpr int64_t kGrain = 1 << 16;
}

std::vector<int64_t> strides_of(const Shape& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = stride;
    stride = wrapping_product(stride, std::max<int64_t>(shape[d], 1));
  }
  return strides;
}

std::vector<int64_t> broadcast_strides(const Shape& shape, const Shape& out) {
  const std::vector<int64_t> own = strides_of(shape);
  std::vector<int64_t> strides(out.size(), 0);
  for (size_t d = 0; d < shape.size(); ++d)
    if (shape[d] != 1) strides[out.size() - shape.size() + d] = own[d];
  return strides;
}

Tensor strided_copy(const Call& call, const Tensor& tensor, const Shape& shape,
                    const std::vector<int64_t>& strides, int64_t first) {
  WritableTensor out = call.allocate(tensor.dtype, shape);
  const StridedWalk<1> walk(shape, {strides});
  const int64_t stride = walk.inner_strides()[0];
  with_width(tensor.dtype, [&]<class T>(Type<T>) {
    const T* from = tensor.as<T>().data();
    T* to = out.as<T>();
    call.parallel(out.tensor.count(), kGrain, [&](int64_t begin, int64_t end) {
      walk.walk(begin, end, [&](int64_t position, const std::array<int64_t, 1>& offsets, int64_t count) {
        const T* source = from + first + offsets[0];
        if (stride == 1) {
          std::memcpy(to + position, source, static_cast<size_t>(count) * sizeof(T));
        } else {
          for (int64_t i = 0; i < count; ++i) to[position + i] = source[i * stride];
        }
      });
    });
  });
  return out.tensor;
}

Tensor permuted(const Call& call, const Tensor& tensor, const std::vector<size_t>& order) {
  Shape shape(order.size());
  std::vector<int64_t> strides(order.size());
  const std::vector<int64_t> own = strides_of(tensor.shape);
  size_t last = 0;
  bool moves = false;
  for (size_t d = 0; d < order.size(); ++d) {
    shape[d] = tensor.shape[order[d]];
    strides[d] = own[order[d]];
    if (shape[d] == 1) continue;
    moves |= order[d] < last;
    last = order[d];
  }
  if (!moves) return reshaped(tensor, shape);
  return strided_copy(call, tensor, shape, strides);
}

}  // namespace qdqbert::engine::reference
