// ArgMax ArgMin TopK.
#include <algorithm>
#include <numeric>

#include "qdqbert/engine/reference/strided.h"
#include "qdqbert/engine/reference/types.h"

namespace qdqbert::engine::reference {

namespace {

/// The tensor with `axis` last, and the order that puts it there.
struct Turned {
  Tensor rows;
  std::vector<size_t> order;
};

Turned turned(const Call& call, const Tensor& x, size_t axis) {
  std::vector<size_t> order;
  for (size_t d = 0; d < x.shape.size(); ++d)
    if (d != axis) order.push_back(d);
  order.push_back(axis);
  return {permuted(call, x, order), order};
}

/// NaN stands in front of every number, as in numpy.
template <class T>
bool comes_first(T a, T b, bool largest) {
  if (a != a || b != b) return a != a && b == b;
  return largest ? a > b : a < b;
}

template <bool kLargest>
std::vector<Tensor> arg(const Call& call) {
  const Tensor& x = call.input(0);
  const size_t axis = call.axis(call.node.integer("axis", 0), x.shape.size());
  const bool last = call.node.integer("select_last_index", 0) != 0;
  const Turned from = turned(call, x, axis);
  const int64_t size = x.shape[axis];
  if (size == 0) call.refuse("nothing to choose from in {}", to_string(x.shape));
  Shape shape = x.shape;
  if (call.node.integer("keepdims", 1) != 0)
    shape[axis] = 1;
  else
    shape.erase(shape.begin() + static_cast<int64_t>(axis));
  WritableTensor out = call.allocate(DType::kI64, shape);
  with_type(call, x.dtype, NumericTypes{}, [&]<class T>(Type<T>) {
    const T* values = from.rows.as<T>().data();
    auto* to = out.as<int64_t>();
    call.parallel(out.tensor.count(), 256, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* at = values + row * size;
        int64_t best = 0;
        for (int64_t i = 1; i < size; ++i)
          if (comes_first(at[i], at[best], kLargest) || (last && !comes_first(at[best], at[i], kLargest)))
            best = i;
        to[row] = best;
      }
    });
  });
  return {out.tensor};
}

/// In order, whether the node asks for that or not; the lower index first among equals.
std::vector<Tensor> top_k(const Call& call) {
  const Tensor& x = call.input(0);
  const size_t rank = x.shape.size(), axis = call.axis(call.node.integer("axis", -1), rank);
  const std::vector<int64_t> wanted = call.integers(call.input(1), "k");
  const int64_t size = x.shape[axis];
  if (wanted.size() != 1 || wanted[0] < 0 || wanted[0] > size)
    call.refuse("k does not fit a dimension of size {}", size);
  const int64_t k = wanted[0];
  const bool largest = call.node.integer("largest", 1) != 0;
  const Turned from = turned(call, x, axis);
  Shape shape = from.rows.shape;
  shape.back() = k;
  WritableTensor values = call.allocate(x.dtype, shape), indices = call.allocate(DType::kI64, shape);
  with_type(call, x.dtype, NumericTypes{}, [&]<class T>(Type<T>) {
    std::vector<int64_t> places(static_cast<size_t>(size));
    const int64_t rows = size == 0 ? 0 : from.rows.count() / size;
    for (int64_t row = 0; row < rows; ++row) {
      const T* at = from.rows.as<T>().data() + row * size;
      std::iota(places.begin(), places.end(), int64_t{0});
      std::partial_sort(places.begin(), places.begin() + k, places.end(), [&](int64_t a, int64_t b) {
        if (comes_first(at[a], at[b], largest)) return true;
        return !comes_first(at[b], at[a], largest) && a < b;
      });
      for (int64_t i = 0; i < k; ++i) {
        values.as<T>()[row * k + i] = at[places[static_cast<size_t>(i)]];
        indices.as<int64_t>()[row * k + i] = places[static_cast<size_t>(i)];
      }
    }
  });
  std::vector<size_t> back(rank);
  for (size_t d = 0; d < rank; ++d) back[from.order[d]] = d;
  return {permuted(call, values.tensor, back), permuted(call, indices.tensor, back)};
}

}  // namespace

std::span<const Operator> search_operators() {
  static const Operator rows[] = {
      {.name = "ArgMax", .function = arg<true>},
      {.name = "ArgMin", .function = arg<false>},
      {.name = "TopK", .function = top_k, .half = Half::kWidenFirst, .inputs = 2},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
