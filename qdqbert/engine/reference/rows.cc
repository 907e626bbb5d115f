// Operators that reduce: means, softmax, LayerNorm.
#include <algorithm>
#include <cmath>

#include "qdqbert/engine/reference/table.h"

namespace qdqbert::engine::reference {

namespace {

/// The axes that a reduction takes: an input from opset 18 (ReduceSum: 13), an attribute before. None: all of
/// them.
std::vector<bool> reduced_axes(const Node& n, Inputs in) {
  std::vector<int64_t> axes = n.integers("axes", {});
  if (const Tensor* given = optional_input(in, 1)) axes = integers_of(n, *given);
  const size_t rank = in[0]->shape.size();
  if (axes.empty()) return std::vector<bool>(rank, n.integer("noop_with_empty_axes", 0) == 0);
  std::vector<bool> reduced(rank, false);
  for (const int64_t axis : axes) reduced[checked_axis(n, axis, rank)] = true;
  return reduced;
}

template <class F>
std::vector<Tensor> reduce(const Node& n, Inputs in, double start, bool mean, const F& f) {
  const Tensor x = as_float(n, *in[0]);
  const std::vector<bool> reduced = reduced_axes(n, in);
  Shape kept, shown;
  int64_t count = 1;
  for (size_t i = 0; i < reduced.size(); ++i) {
    kept.push_back(reduced[i] ? 1 : x.shape[i]);
    if (!reduced[i])
      shown.push_back(x.shape[i]);
    else
      count *= x.shape[i];
    if (reduced[i] && n.integer("keepdims", 1) != 0) shown.push_back(1);
  }
  // Sums in double: the mean of a row is then the nearest float to the true one.
  std::vector<double> sums(static_cast<size_t>(element_count(kept)), start);
  BroadcastIndex to(kept, x.shape);
  for (const float value : x.as<float>()) {
    sums[*to] = f(sums[*to], static_cast<double>(value));
    to.advance();
  }
  WritableTensor out = new_tensor(n, DType::kF32, shown);
  for (size_t i = 0; i < sums.size(); ++i)
    out.as<float>()[i] = static_cast<float>(mean ? sums[i] / static_cast<double>(count) : sums[i]);
  return {like(n, out.tensor, in[0]->dtype)};
}

std::vector<Tensor> reduce_mean(const Node& n, Inputs in) {
  return reduce(n, in, 0, true, [](double a, double b) { return a + b; });
}
std::vector<Tensor> reduce_sum(const Node& n, Inputs in) {
  return reduce(n, in, 0, false, [](double a, double b) { return a + b; });
}
std::vector<Tensor> reduce_max(const Node& n, Inputs in) {
  return reduce(n, in, -HUGE_VAL, false, [](double a, double b) { return a < b ? b : a; });
}

std::vector<Tensor> any_softmax(const Node& n, Inputs in, bool logarithm) {
  const Tensor x = as_float(n, *in[0]);
  const size_t axis = checked_axis(n, n.integer("axis", -1), x.shape.size());
  const auto size = static_cast<size_t>(x.shape[axis]);
  const auto inner = static_cast<size_t>(
      element_count(Shape(x.shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.shape.end())));
  WritableTensor out = new_tensor(n, DType::kF32, x.shape);
  const float* from = x.as<float>().data();
  const auto count = static_cast<size_t>(x.count());
  if (size == 0) return {like(n, out.tensor, in[0]->dtype)};
  for (size_t begin = 0; begin < count; begin += size * inner)
    for (size_t i = begin; i < begin + inner; ++i) {
      float most = from[i];
      for (size_t s = 1; s < size; ++s) most = std::max(most, from[i + s * inner]);
      double sum = 0;
      for (size_t s = 0; s < size; ++s) sum += std::exp(static_cast<double>(from[i + s * inner] - most));
      for (size_t s = 0; s < size; ++s) {
        const double shifted = static_cast<double>(from[i + s * inner] - most);
        out.as<float>()[i + s * inner] =
            static_cast<float>(logarithm ? shifted - std::log(sum) : std::exp(shifted) / sum);
      }
    }
  return {like(n, out.tensor, in[0]->dtype)};
}

std::vector<Tensor> softmax(const Node& n, Inputs in) {
  return any_softmax(n, in, false);
}
std::vector<Tensor> log_softmax(const Node& n, Inputs in) {
  return any_softmax(n, in, true);
}

std::vector<Tensor> layer_norm(const Node& n, Inputs in) {
  const Tensor x = as_float(n, *in[0]), gamma = as_float(n, *in[1]);
  const size_t axis = checked_axis(n, n.integer("axis", -1), x.shape.size());
  const auto size = static_cast<size_t>(
      element_count(Shape(x.shape.begin() + static_cast<std::ptrdiff_t>(axis), x.shape.end())));
  std::optional<Tensor> beta;
  if (const Tensor* given = optional_input(in, 2)) beta = as_float(n, *given);
  if (static_cast<size_t>(gamma.count()) != size || (beta && static_cast<size_t>(beta->count()) != size))
    fail_node(n, "weights of shape {} for rows of {}", to_string(gamma.shape), size);
  const auto epsilon = static_cast<double>(n.real("epsilon", 1e-5f));
  WritableTensor out = new_tensor(n, DType::kF32, x.shape);
  const auto count = static_cast<size_t>(x.count());
  for (size_t row = 0; size > 0 && row < count; row += size) {
    const float* from = x.as<float>().data() + row;
    double mean = 0, variance = 0;
    for (size_t j = 0; j < size; ++j) mean += from[j];
    mean /= static_cast<double>(size);
    for (size_t j = 0; j < size; ++j) variance += (from[j] - mean) * (from[j] - mean);
    const double scale = 1.0 / std::sqrt(variance / static_cast<double>(size) + epsilon);
    for (size_t j = 0; j < size; ++j) {
      const double y = (from[j] - mean) * scale * gamma.as<float>()[j];
      out.as<float>()[row + j] = static_cast<float>(beta ? y + beta->as<float>()[j] : y);
    }
  }
  return {like(n, out.tensor, in[0]->dtype)};
}

constexpr Operator kOperators[] = {
    {"ReduceMean", 1, 2, reduce_mean}, {"ReduceSum", 1, 2, reduce_sum},
    {"ReduceMax", 1, 2, reduce_max},   {"Softmax", 1, 1, softmax},
    {"LogSoftmax", 1, 1, log_softmax}, {"LayerNormalization", 2, 3, layer_norm},
};

}  // namespace

std::span<const Operator> row_operators() {
  return kOperators;
}

}  // namespace qdqbert::engine::reference
