// Softmax, LogSoftmax, Hardmax, LayerNormalization and com.microsoft.SkipLayerNormalization.
#include <cmath>

#include "qdqbert/engine/reference/strided.h"
#include "qdqbert/engine/reference/types.h"
#include "qdqbert/engine/reference/zip.h"

namespace qdqbert::engine::reference {

namespace {

constexpr int64_t kRowGrain = 16;

enum class Over : uint8_t { kSoftmax, kLogSoftmax, kHardmax };

/// 1 at the first of the greatest, 0 elsewhere.
void hardmax_row(const float* x, int64_t n, float* y) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i)
    if (x[i] > x[best]) best = i;
  for (int64_t i = 0; i < n; ++i) y[i] = i == best ? 1.0f : 0.0f;
}

void softmax_row(const float* x, int64_t n, float* y, bool logarithmic) {
  float highest = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < n; ++i)
    if (x[i] > highest || x[i] != x[i]) highest = x[i];
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<float>(std::exp(static_cast<double>(x[i] - highest)));
    sum += y[i];
  }
  const double offset = highest + std::log(sum);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(logarithmic ? x[i] - offset : y[i] / sum);
}

template <Over kOver>
std::vector<Tensor> softmax(const Call& call) {
  const Tensor& x = call.input(0);
  call.require(x, DType::kF32, "the operand");
  const size_t rank = x.shape.size();
  // Before operator set 13 all dimensions from the axis on are one.
  const bool flattens = call.node.opset < 13;
  const size_t axis = rank == 0 ? 0 : call.axis(call.node.integer("axis", flattens ? 1 : -1), rank);
  Tensor rows = x;
  std::vector<size_t> order(rank);
  for (size_t d = 0; d < rank; ++d) order[d] = d;
  const bool moves = !flattens && rank > 0 && axis + 1 != rank;
  if (moves) {
    std::swap(order[axis], order[rank - 1]);
    rows = permuted(call, x, order);
  }
  const size_t first = flattens || rank == 0 ? axis : rank - 1;
  const int64_t size = call.count({rows.shape.begin() + static_cast<int64_t>(first), rows.shape.end()});
  WritableTensor out = call.allocate(DType::kF32, rows.shape);
  const float* from = rows.as<float>().data();
  float* to = out.as<float>();
  call.parallel(size == 0 ? 0 : rows.count() / size, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if (kOver == Over::kHardmax)
        hardmax_row(from + r * size, size, to + r * size);
      else
        softmax_row(from + r * size, size, to + r * size, kOver == Over::kLogSoftmax);
    }
  });
  return {moves ? permuted(call, out.tensor, order) : out.tensor};
}

struct Normalized {
  Tensor y, mean, inverse_deviation;
};

/// Mean and variance over the last `n` elements of `rows` rows;
/// scale and bias have n elements (bias: or null).
Normalized normalize(const Call& call, const Tensor& x, int64_t n, const Tensor& scale, const Tensor* bias,
                     float epsilon, const Shape& statistics) {
  WritableTensor y = call.allocate(DType::kF32, x.shape);
  WritableTensor mean = call.allocate(DType::kF32, statistics);
  WritableTensor inverse = call.allocate(DType::kF32, statistics);
  const float *from = x.as<float>().data(), *gamma = scale.as<float>().data();
  const float* beta = bias ? bias->as<float>().data() : nullptr;
  float *to = y.as<float>(), *means = mean.as<float>(), *inverses = inverse.as<float>();
  call.parallel(mean.tensor.count(), kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* row = from + r * n;
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < n; ++i) sum += row[i];
      const double middle = sum / static_cast<double>(n);
      for (int64_t i = 0; i < n; ++i) squares += (row[i] - middle) * (row[i] - middle);
      const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + static_cast<double>(epsilon));
      for (int64_t i = 0; i < n; ++i) {
        const double value = (row[i] - middle) * factor * gamma[i] + (beta ? beta[i] : 0.0f);
        to[r * n + i] = static_cast<float>(value);
      }
      means[r] = static_cast<float>(middle);
      inverses[r] = static_cast<float>(factor);
    }
  });
  return {y.tensor, mean.tensor, inverse.tensor};
}

/// `parameter` as exactly the shape of the normalized dimensions.
Tensor fitted(const Call& call, const Tensor& parameter, const Shape& shape, std::string_view what) {
  call.require(parameter, DType::kF32, what);
  if (parameter.shape == shape) return parameter;
  if (call.broadcast(parameter.shape, shape) != shape)
    call.refuse("{} of {} does not fit {}", what, to_string(parameter.shape), to_string(shape));
  return strided_copy(call, parameter, shape, broadcast_strides(parameter.shape, shape));
}

std::vector<Tensor> layer_normalization(const Call& call) {
  const Tensor& x = call.input(0);
  call.require(x, DType::kF32, "the operand");
  const size_t axis = call.axis(call.node.integer("axis", -1), x.shape.size());
  const auto middle = x.shape.begin() + static_cast<int64_t>(axis);
  const Shape inner(middle, x.shape.end());
  Shape statistics(x.shape.begin(), middle);
  statistics.resize(x.shape.size(), 1);
  const int64_t n = call.count(inner);
  if (n == 0) call.refuse("nothing to normalize over in {}", to_string(x.shape));
  const Tensor scale = fitted(call, call.input(1), inner, "the scale");
  std::optional<Tensor> bias;
  if (const Tensor* given = call.optional(2)) bias = fitted(call, *given, inner, "the bias");
  Normalized result =
      normalize(call, x, n, scale, bias ? &*bias : nullptr, call.node.real("epsilon", 1e-5f), statistics);
  return {result.y, result.mean, result.inverse_deviation};
}

std::string check_stash(const Node& node) {
  const int64_t type = node.integer("stash_type", 1);
  return type == 1 ? "" : fmt::format("stash_type {} is not supported", type);
}

std::vector<Tensor> skip_layer_normalization(const Call& call) {
  const Tensor &x = call.input(0), &skip = call.input(1);
  call.require(x, DType::kF32, "the operand");
  call.require(skip, DType::kF32, "the skipped operand");
  if (x.shape.empty()) call.refuse("the operand is a scalar");
  const auto add = [](float a, float b) { return a + b; };
  Tensor sum = zip<float, float, float>(call, x, skip, DType::kF32, add);
  const Shape inner{x.shape.back()};
  if (x.shape.back() == 0) call.refuse("nothing to normalize over in {}", to_string(x.shape));
  if (const Tensor* bias = call.optional(4))
    sum = zip<float, float, float>(call, sum, fitted(call, *bias, inner, "the bias"), DType::kF32, add);
  if (sum.shape != x.shape)
    call.refuse("the operands are {} and {}", to_string(x.shape), to_string(skip.shape));
  const Tensor gamma = fitted(call, call.input(2), inner, "gamma");
  std::optional<Tensor> beta;
  if (const Tensor* given = call.optional(3)) beta = fitted(call, *given, inner, "beta");
  Shape statistics = x.shape;
  statistics.back() = 1;
  Normalized result = normalize(call, sum, x.shape.back(), gamma, beta ? &*beta : nullptr,
                                call.node.real("epsilon", 1e-12f), statistics);
  return {result.y, result.mean, result.inverse_deviation, sum};
}

}  // namespace

std::span<const Operator> normalization_operators() {
  static const Operator rows[] = {
      {.name = "Softmax", .function = softmax<Over::kSoftmax>},
      {.name = "LogSoftmax", .function = softmax<Over::kLogSoftmax>},
      {.name = "Hardmax", .function = softmax<Over::kHardmax>},
      {.name = "LayerNormalization",
       .function = layer_normalization,
       .half = Half::kWidenFirst,
       .check = check_stash,
       .inputs = 2},
      {.name = "com.microsoft.LayerNormalization",
       .function = layer_normalization,
       .half = Half::kWidenFirst,
       .check = check_stash,
       .inputs = 2},
      {.name = "com.microsoft.SkipLayerNormalization",
       .function = skip_layer_normalization,
       .half = Half::kWidenFirst,
       .inputs = 3},
  };
  return rows;
}

}  // namespace qdqbert::engine::reference
