#include "qdqbert/tasks/sentence_embedding.h"

#include <algorithm>
#include <cmath>

#include <fmt/ranges.h>

#include "qdqbert/base/error.h"

namespace qdqbert::tasks {

namespace {

using Vector = std::vector<double>;

/// Rows of tokens, and from which on they count.
struct States {
  std::span<const float> values;
  size_t columns, first;
  size_t rows() const { return values.size() / columns; }
  std::span<const float> row(size_t i) const { return values.subspan(i * columns, columns); }
};

/// Sum of rows times weight(row), divided by divisor(sum of weights).
template <class Weight, class Divisor>
Vector weighted(const States& states, const Weight& weight, const Divisor& divisor) {
  constexpr double kLeast = 1e-9;
  Vector sum(states.columns, 0.0);
  double total = 0;
  for (size_t r = states.first; r < states.rows(); ++r) {
    const double w = weight(r);
    total += w;
    for (size_t j = 0; j < states.columns; ++j) sum[j] += w * double{states.row(r)[j]};
  }
  for (double& value : sum) value /= divisor(std::max(total, kLeast));
  return sum;
}

Vector pooled(const States& states, Pooling pooling) {
  const auto one = [](size_t) { return 1.0; };
  const auto copy = [&](size_t row) { return Vector(states.row(row).begin(), states.row(row).end()); };
  switch (pooling) {
    case Pooling::kCls:
      return copy(states.first < states.rows() ? states.first : 0);
    case Pooling::kLastToken:
      return states.first < states.rows() ? copy(states.rows() - 1) : Vector(states.columns, 0.0);
    case Pooling::kMax: {
      Vector most = copy(std::min(states.first, states.rows() - 1));
      for (size_t r = states.first; r < states.rows(); ++r)
        for (size_t j = 0; j < states.columns; ++j) most[j] = std::max(most[j], double{states.row(r)[j]});
      return most;
    }
    case Pooling::kMean:
      return weighted(states, one, [](double total) { return total; });
    case Pooling::kMeanSqrtLength:
      return weighted(states, one, [](double total) { return std::sqrt(total); });
    case Pooling::kWeightedMean:
      return weighted(
          states, [](size_t row) { return static_cast<double>(row + 1); },
          [](double total) { return total; });
  }
  return {};
}

double activated(double x, DenseLayer::Activation activation) {
  using enum DenseLayer::Activation;
  constexpr double kSlope = 0.01;
  switch (activation) {
    case kIdentity:
      return x;
    case kTanh:
      return std::tanh(x);
    case kRelu:
      return std::max(x, 0.0);
    case kRelu6:
      return std::clamp(x, 0.0, 6.0);
    case kLeakyRelu:
      return x < 0 ? kSlope * x : x;
    case kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case kSilu:
      return x / (1 + std::exp(-x));
    case kSigmoid:
      return 1 / (1 + std::exp(-x));
  }
  return x;
}

Vector applied(const DenseLayer& layer, const Vector& x) {
  Vector y(layer.out);
  for (size_t o = 0; o < layer.out; ++o) {
    double sum = layer.bias.empty() ? 0.0 : double{layer.bias[o]};
    for (size_t i = 0; i < layer.in; ++i) sum += double{layer.weight[o * layer.in + i]} * x[i];
    y[o] = activated(sum, layer.activation);
  }
  return y;
}

void normalize(Vector& x) {
  constexpr double kLeast = 1e-12;
  double square = 0;
  for (const double value : x) square += value * value;
  const double length = std::max(std::sqrt(square), kLeast);
  for (double& value : x) value /= length;
}

}  // namespace

const std::vector<std::string>& pooling_names() {
  static const std::vector<std::string> names = {"cls",          "max",      "mean", "mean_sqrt_len_tokens",
                                                 "weightedmean", "lasttoken"};
  return names;
}

std::string_view name_of(Pooling pooling) {
  return pooling_names()[static_cast<size_t>(pooling)];
}

std::optional<Pooling> pooling_named(std::string_view name) {
  const auto found = std::find(pooling_names().begin(), pooling_names().end(), name);
  if (found == pooling_names().end()) return std::nullopt;
  return static_cast<Pooling>(found - pooling_names().begin());
}

std::string SentenceModel::prompt(const std::optional<std::string>& name) const {
  if (name && name->empty()) return "";
  const std::optional<std::string>& chosen = name ? name : default_prompt;
  if (!chosen) return "";
  if (const auto found = prompts.find(*chosen); found != prompts.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [known, text] : prompts) names.push_back(known);
  fail<UsageError>("[prompt] the model has no prompt \"{}\"; it has {}", *chosen,
                   names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")));
}

size_t SentenceModel::width(size_t columns) const {
  size_t width = columns * pooling.size();
  for (const auto& step : steps) {
    const auto* layer = std::get_if<DenseLayer>(&step);
    if (!layer) continue;
    if (layer->in != width)
      fail("[embed] a dense layer takes {} numbers, what stands before it gives {}", layer->in, width);
    width = layer->out;
  }
  return width;
}

std::vector<float> embed_sentence(const SentenceModel& model, std::span<const float> states, size_t columns,
                                  size_t prompt_tokens) {
  if (columns == 0 || states.empty() || states.size() % columns != 0)
    fail("[embed] {} numbers do not make rows of {}", states.size(), columns);
  model.width(columns);
  const States rows{states, columns, model.include_prompt ? 0 : prompt_tokens};
  Vector vector;
  for (const Pooling pooling : model.pooling) {
    const Vector part = pooled(rows, pooling);
    vector.insert(vector.end(), part.begin(), part.end());
  }
  for (const auto& step : model.steps) {
    if (const auto* layer = std::get_if<DenseLayer>(&step))
      vector = applied(*layer, vector);
    else
      normalize(vector);
  }
  return {vector.begin(), vector.end()};
}

}  // namespace qdqbert::tasks
