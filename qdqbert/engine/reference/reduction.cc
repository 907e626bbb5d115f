// ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp.
#include <cmath>
#include <limits>
#include <type_traits>

#include "qdqbert/engine/reference/strided.h"
#include "qdqbert/engine/reference/types.h"

namespace qdqbert::engine::reference {

namespace {

struct Reduced {
  Tensor rows;   ///< the reduced dimensions last
  Shape shape;   ///< of the result
  int64_t size;  ///< elements that make one
};

/// Null when noop_with_empty_axes says that nothing is reduced.
std::optional<Reduced> arrange(const Call& call) {
  const Tensor& x = call.input(0);
  const size_t rank = x.shape.size();
  std::vector<int64_t> axes = call.node.integers("axes", {});
  if (const Tensor* given = call.optional(1)) axes = call.integers(*given, "axes");
  if (axes.empty() && call.node.integer("noop_with_empty_axes", 0)) return std::nullopt;
  std::vector<bool> reduce(rank, axes.empty());
  for (const int64_t axis : axes) reduce[call.axis(axis, rank)] = true;
  const bool keep = call.node.integer("keepdims", 1) != 0;
  std::vector<size_t> order;
  Reduced result{{}, {}, 1};
  for (size_t d = 0; d < rank; ++d) {
    if (!reduce[d]) order.push_back(d);
    if (reduce[d] ? keep : true) result.shape.push_back(reduce[d] ? 1 : x.shape[d]);
  }
  Shape together;
  for (size_t d = 0; d < rank; ++d)
    if (reduce[d]) {
      order.push_back(d);
      together.push_back(x.shape[d]);
    }
  result.size = call.count(together);
  result.rows = permuted(call, x, order);
  return result;
}

/// out[row] = fold(pointer to the row's elements, their number)
template <class Types, class Fold>
std::vector<Tensor> reduce(const Call& call, Types types, const Fold& fold) {
  const auto arranged = arrange(call);
  if (!arranged) return {call.input(0)};
  WritableTensor out = call.allocate(arranged->rows.dtype, arranged->shape);
  with_type(call, out.tensor.dtype, types, [&]<class T>(Type<T>) {
    const T* from = arranged->rows.as<T>().data();
    T* to = out.as<T>();
    call.parallel(out.tensor.count(), 256, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = fold(from + i * arranged->size, arranged->size);
    });
  });
  return {out.tensor};
}

template <class T>
using Sum = typename std::conditional_t<std::is_floating_point_v<T>, std::type_identity<double>,
                                        std::make_unsigned<T>>::type;

template <class T, class Part>
Sum<T> sum_of(const T* values, int64_t count, const Part& part) {
  Sum<T> sum{0};
  for (int64_t i = 0; i < count; ++i) sum += part(static_cast<Sum<T>>(values[i]));
  return sum;
}

template <class T>
Sum<T> sum_of(const T* values, int64_t count) {
  Sum<T> sum{0};
  for (int64_t i = 0; i < count; ++i) sum += static_cast<Sum<T>>(values[i]);
  return sum;
}

std::vector<Tensor> sum(const Call& call) {
  return reduce(call, ArithmeticTypes{}, []<class T>(const T* values, int64_t count) {
    return static_cast<T>(sum_of(values, count));
  });
}

std::vector<Tensor> mean(const Call& call) {
  return reduce(call, ArithmeticTypes{}, []<class T>(const T* values, int64_t count) {
    if constexpr (std::is_floating_point_v<T>)
      return static_cast<T>(sum_of(values, count) / static_cast<double>(count));
    else
      return count == 0 ? T{0}
                        : static_cast<T>(static_cast<T>(sum_of(values, count)) / static_cast<T>(count));
  });
}

std::vector<Tensor> sum_of_squares(const Call& call) {
  return reduce(call, ArithmeticTypes{}, []<class T>(const T* values, int64_t count) {
    return static_cast<T>(sum_of(values, count, [](auto x) { return x * x; }));
  });
}

/// Of integers as of the doubles that they are.
std::vector<Tensor> euclidean(const Call& call) {
  return reduce(call, ArithmeticTypes{}, []<class T>(const T* values, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i)
      sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    return static_cast<T>(std::sqrt(sum));
  });
}

std::vector<Tensor> absolute(const Call& call) {
  return reduce(call, ArithmeticTypes{}, []<class T>(const T* values, int64_t count) {
    return static_cast<T>(sum_of(values, count, [](auto x) {
      if constexpr (std::is_floating_point_v<decltype(x)>)
        return std::fabs(x);
      else
        return static_cast<T>(x) < T{0} ? decltype(x){0} - x : x;
    }));
  });
}

std::vector<Tensor> product(const Call& call) {
  return reduce(call, ArithmeticTypes{}, []<class T>(const T* values, int64_t count) {
    Sum<T> all{1};
    for (int64_t i = 0; i < count; ++i) all *= static_cast<Sum<T>>(values[i]);
    return static_cast<T>(all);
  });
}

std::vector<Tensor> logarithm_of_sum(const Call& call) {
  return reduce(call, FloatTypes{}, []<class T>(const T* values, int64_t count) {
    return static_cast<T>(std::log(sum_of(values, count)));
  });
}

std::vector<Tensor> logarithm_of_exponentials(const Call& call) {
  return reduce(call, FloatTypes{}, []<class T>(const T* values, int64_t count) {
    double top = -std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < count; ++i)
      if (values[i] > top || values[i] != values[i]) top = static_cast<double>(values[i]);
    if (std::isinf(top)) return static_cast<T>(top);
    return static_cast<T>(top +
                          std::log(sum_of(values, count, [top](double x) { return std::exp(x - top); })));
  });
}

std::vector<Tensor> minimum(const Call& call) {
  return reduce(call, NumericTypes{}, []<class T>(const T* values, int64_t count) {
    T best = std::is_floating_point_v<T> ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
    for (int64_t i = 0; i < count; ++i)
      if (values[i] < best || values[i] != values[i]) best = values[i];
    return best;
  });
}

std::vector<Tensor> maximum(const Call& call) {
  return reduce(call, NumericTypes{}, []<class T>(const T* values, int64_t count) {
    T best =
        std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
    for (int64_t i = 0; i < count; ++i)
      if (values[i] > best || values[i] != values[i]) best = values[i];
    return best;
  });
}

}  // namespace

std::span<const Operator> reduction_operators() {
  static const Operator rows[] = {
      {.name = "ReduceMean", .function = mean},
      {.name = "ReduceSum", .function = sum},
      {.name = "ReduceMax", .function = maximum},
      {.name = "ReduceMin", .function = minimum},
      {.name = "ReduceProd", .function = product},
      {.name = "ReduceL1", .function = absolute},
      {.name = "ReduceL2", .function = euclidean},
      {.name = "ReduceSumSquare", .function = sum_of_squares},
      {.name = "ReduceLogSum", .function = logarithm_of_sum},
      {.name = "ReduceLogSumExp", .function = logarithm_of_exponentials},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
