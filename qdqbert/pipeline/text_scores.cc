#include "qdqbert/pipeline/text_scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "qdqbert/base/error.h"

namespace qdqbert::pipeline {

std::vector<double> softmax(std::span<const float> logits) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> scores;
  double sum = 0;
  for (const float logit : logits) {
    scores.push_back(std::exp(double{logit} - double{highest}));
    sum += scores.back();
  }
  for (double& score : scores) score /= sum;
  return scores;
}

std::vector<double> sigmoids(std::span<const float> logits) {
  std::vector<double> scores;
  for (const float logit : logits) scores.push_back(1.0 / (1.0 + std::exp(-double{logit})));
  return scores;
}

std::vector<size_t> best_first(std::span<const double> scores, size_t count) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t kept = std::min(count, order.size());
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
      [&](size_t a, size_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  order.resize(kept);
  return order;
}

std::vector<std::string> labels_for(const ModelFacts& facts, const TextModel& model) {
  const size_t columns = model.columns();
  const std::map<int64_t, std::string>& named = facts.labels;
  std::vector<std::string> labels;
  if (const size_t last = named.empty() ? columns : static_cast<size_t>(named.rbegin()->first) + 1;
      last == columns) {
    for (size_t i = 0; i < columns; ++i) {
      const auto found = named.find(static_cast<int64_t>(i));
      labels.push_back(found == named.end() ? fmt::format("LABEL_{}", i) : found->second);
    }
  } else if (named.size() == columns) {  // keys from 1, as some write them
    for (const auto& [key, label] : named) labels.push_back(label);
  } else {
    fail("[model] config.json beside {} names {} labels, the model has {} outputs", model.name(), last,
         columns);
  }
  return labels;
}

}  // namespace qdqbert::pipeline
