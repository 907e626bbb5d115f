// Gather, GatherElements and GatherND.
#include <cstring>

#include "qdqbert/engine/reference/strided.h"
#include "qdqbert/engine/reference/types.h"

namespace qdqbert::engine::reference {

namespace {

/// Indices in [-size, size) as ones in [0, size).
std::vector<int64_t> positions(const Call& call, const Tensor& indices, int64_t size) {
  if (indices.dtype != DType::kI64 && indices.dtype != DType::kI32)
    call.refuse("indices must be I64 or I32, not {}", name_of(indices.dtype));
  std::vector<int64_t> all = to_int64(indices.view());
  for (int64_t& index : all) {
    if (index < -size || index >= size)
      call.refuse("index {} does not fit a dimension of size {}", index, size);
    if (index < 0) index += size;
  }
  return all;
}

std::vector<Tensor> gather(const Call& call) {
  const Tensor &x = call.input(0), &indices = call.input(1);
  const size_t axis = call.axis(call.node.integer("axis", 0), x.shape.size());
  const auto middle = x.shape.begin() + static_cast<int64_t>(axis);
  Shape shape(x.shape.begin(), middle);
  shape.insert(shape.end(), indices.shape.begin(), indices.shape.end());
  shape.insert(shape.end(), middle + 1, x.shape.end());
  const std::vector<int64_t> rows = positions(call, indices, x.shape[axis]);
  WritableTensor out = call.allocate(x.dtype, shape);
  const int64_t outer = call.count({x.shape.begin(), middle});
  const size_t block = static_cast<size_t>(call.count({middle + 1, x.shape.end()})) * size_of(x.dtype);
  const size_t slab = block * static_cast<size_t>(x.shape[axis]);
  if (out.tensor.bytes.empty()) return {out.tensor};
  std::byte* to = out.data;
  for (int64_t o = 0; o < outer; ++o)
    for (const int64_t row : rows) {
      std::memcpy(to, x.bytes.data() + static_cast<size_t>(o) * slab + static_cast<size_t>(row) * block,
                  block);
      to += block;
    }
  return {out.tensor};
}

std::vector<Tensor> gather_elements(const Call& call) {
  const Tensor &x = call.input(0), &indices = call.input(1);
  const size_t rank = x.shape.size(), axis = call.axis(call.node.integer("axis", 0), rank);
  if (indices.shape.size() != rank)
    call.refuse("indices of {} do not fit {}", to_string(indices.shape), to_string(x.shape));
  for (size_t d = 0; d < rank; ++d)
    if (d != axis && indices.shape[d] > x.shape[d])
      call.refuse("indices of {} do not fit {}", to_string(indices.shape), to_string(x.shape));
  const std::vector<int64_t> rows = positions(call, indices, x.shape[axis]);
  WritableTensor out = call.allocate(x.dtype, indices.shape);
  std::vector<int64_t> strides = strides_of(x.shape);
  const int64_t stride = strides[axis];
  strides[axis] = 0;
  const StridedWalk<1> walk(indices.shape, {strides});
  const int64_t step = walk.inner_strides()[0];
  with_width(x.dtype, [&]<class T>(Type<T>) {
    const T* from = x.as<T>().data();
    T* to = out.as<T>();
    walk.walk(0, out.tensor.count(), [&](int64_t position, const std::array<int64_t, 1>& at, int64_t count) {
      for (int64_t i = 0; i < count; ++i)
        to[position + i] = from[at[0] + i * step + rows[static_cast<size_t>(position + i)] * stride];
    });
  });
  return {out.tensor};
}

/// The last axis of the indices goes along the axes behind `batch_dims`.
std::vector<Tensor> gather_nd(const Call& call) {
  const Tensor &x = call.input(0), &indices = call.input(1);
  const auto rank = static_cast<int64_t>(x.shape.size()), given = static_cast<int64_t>(indices.shape.size());
  const int64_t batch = call.node.integer("batch_dims", 0);
  if (given < 1 || batch < 0 || batch >= std::min(rank, given))
    call.refuse("{} batch dimensions of {} and {}", batch, to_string(x.shape), to_string(indices.shape));
  const int64_t depth = indices.shape.back();
  if (depth < 1 || depth > rank - batch ||
      !std::equal(x.shape.begin(), x.shape.begin() + batch, indices.shape.begin()))
    call.refuse("indices of {} do not fit {}", to_string(indices.shape), to_string(x.shape));
  if (indices.dtype != DType::kI64 && indices.dtype != DType::kI32)
    call.refuse("indices must be I64 or I32, not {}", name_of(indices.dtype));
  Shape shape(indices.shape.begin(), indices.shape.end() - 1);
  shape.insert(shape.end(), x.shape.begin() + batch + depth, x.shape.end());
  WritableTensor out = call.allocate(x.dtype, shape);
  if (out.tensor.bytes.empty()) return {out.tensor};
  const int64_t block = call.count({x.shape.begin() + batch + depth, x.shape.end()});
  const size_t bytes = static_cast<size_t>(block) * size_of(x.dtype);
  const int64_t batches = call.count({x.shape.begin(), x.shape.begin() + batch});
  const int64_t slab = call.count({x.shape.begin() + batch, x.shape.end()});
  const std::vector<int64_t> all = to_int64(indices.view());
  const int64_t tuples = static_cast<int64_t>(all.size()) / depth, each = tuples / batches;
  for (int64_t i = 0; i < tuples; ++i) {
    int64_t at = 0;
    for (int64_t d = 0; d < depth; ++d) {
      const int64_t size = x.shape[static_cast<size_t>(batch + d)],
                    index = all[static_cast<size_t>(i * depth + d)];
      if (index < -size || index >= size)
        call.refuse("index {} does not fit a dimension of size {}", index, size);
      at = at * size + (index < 0 ? index + size : index);
    }
    std::memcpy(out.data + static_cast<size_t>(i) * bytes,
                x.bytes.data() + static_cast<size_t>(i / each * slab + at * block) * size_of(x.dtype), bytes);
  }
  return {out.tensor};
}

}  // namespace

std::span<const Operator> gather_operators() {
  static const Operator rows[] = {
      {.name = "Gather", .function = gather, .half = Half::kAsIs, .inputs = 2},
      {.name = "GatherND", .function = gather_nd, .half = Half::kAsIs, .inputs = 2},
      {.name = "GatherElements", .function = gather_elements, .half = Half::kAsIs, .inputs = 2},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
