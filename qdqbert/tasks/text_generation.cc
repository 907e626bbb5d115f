#include "qdqbert/tasks/text_generation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "qdqbert/base/error.h"
#include "qdqbert/tasks/counter_random.h"

namespace qdqbert::tasks {

namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

void penalize(std::vector<double>& logits, std::span<const int32_t> prompt,
              const std::vector<int32_t>& tokens, double penalty) {
  if (penalty == 1) return;
  std::vector<int32_t> seen(prompt.begin(), prompt.end());
  seen.insert(seen.end(), tokens.begin(), tokens.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (const int32_t token : seen) {
    double& logit = logits.at(static_cast<size_t>(token));
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

void to_log_probabilities(std::vector<double>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double v : logits) sum += std::exp(v - largest);
  const double log_sum = largest + std::log(sum);
  for (double& v : logits) v -= log_sum;
}

/// The `count` largest, largest first; equal ones by smaller index.
std::vector<size_t> largest(const std::vector<double>& values, size_t count) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  count = std::min(count, order.size());
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
      [&](size_t a, size_t b) { return values[a] != values[b] ? values[a] > values[b] : a < b; });
  order.resize(count);
  return order;
}

size_t draw(const std::vector<double>& log_probabilities, const GenerationOptions& options, size_t step) {
  const size_t considered = options.top_k > 0 ? static_cast<size_t>(options.top_k) : log_probabilities.size();
  const std::vector<size_t> order = largest(log_probabilities, considered);
  double sum = 0;
  for (const size_t token : order) sum += std::exp(log_probabilities[token]);
  double kept = 0;
  size_t count = 0;
  while (count < order.size() && (count == 0 || kept < options.top_p * sum))
    kept += std::exp(log_probabilities[order[count++]]);
  double target = random_unit(options.seed, 0, 0, step) * kept;
  for (size_t i = 0; i < count; ++i) {
    target -= std::exp(log_probabilities[order[i]]);
    if (target < 0) return order[i];
  }
  return order[count - 1];
}

std::vector<double> row_of(std::span<const float> logits, size_t row, size_t rows) {
  const size_t width = logits.size() / rows;
  const auto values = logits.subspan(row * width, width);
  if (values.empty() || std::any_of(values.begin(), values.end(), [](float v) { return std::isnan(v); }))
    fail("[generation] the model's logits are not numbers");
  return {values.begin(), values.end()};
}

Generated one_path(std::span<const int32_t> prompt, const NextTokenLogits& next,
                   const GenerationOptions& options) {
  Generated out;
  constexpr size_t kFirst[] = {0};
  std::span<const float> logits = next({1, prompt, {}});
  for (int64_t step = 0; step < options.max_new_tokens; ++step) {
    std::vector<double> scores = row_of(logits, 0, 1);
    penalize(scores, prompt, out.tokens, options.repetition_penalty);
    if (options.sample)
      for (double& v : scores) v /= options.temperature;
    to_log_probabilities(scores);
    const size_t token =
        options.sample ? draw(scores, options, static_cast<size_t>(step)) : largest(scores, 1)[0];
    out.score += scores[token];
    out.tokens.push_back(static_cast<int32_t>(token));
    if (options.end_token == out.tokens.back() || step + 1 == options.max_new_tokens) break;
    logits = next({1, {&out.tokens.back(), 1}, kFirst});
  }
  return out;
}

/// Finished texts, the best `beams` of them.
class Finished {
 public:
  Finished(size_t wanted, double length_penalty) : wanted_(wanted), penalty_(length_penalty) {}

  double score(double log_probability, size_t length) const {
    return log_probability / std::pow(static_cast<double>(length), penalty_);
  }
  void add(Generated text) {
    text.score = score(text.score, text.tokens.size());
    texts_.push_back(std::move(text));
    std::stable_sort(texts_.begin(), texts_.end(),
                     [](const auto& a, const auto& b) { return a.score > b.score; });
    if (texts_.size() > wanted_) texts_.pop_back();
  }
  /// Whether a running text of this log probability, at this length, cannot enter any more (were it to go on
  /// with certainty at the same length, the rule of the reference without early stopping).
  bool closed_to(double log_probability, size_t length) const {
    return texts_.size() == wanted_ && texts_.back().score >= score(log_probability, length);
  }
  std::vector<Generated> take() { return std::move(texts_); }

 private:
  size_t wanted_;
  double penalty_;
  std::vector<Generated> texts_;
};

std::vector<Generated> beam_search(std::span<const int32_t> prompt, const NextTokenLogits& next,
                                   const GenerationOptions& options) {
  const auto beams = static_cast<size_t>(options.beams);
  std::vector<Generated> running{Generated{}};
  Finished finished(beams, options.length_penalty);
  std::span<const float> logits = next({1, prompt, {}});
  for (int64_t step = 0; step < options.max_new_tokens; ++step) {
    std::vector<double> candidates;
    size_t width = 0;
    for (size_t r = 0; r < running.size(); ++r) {
      std::vector<double> scores = row_of(logits, r, running.size());
      width = scores.size();
      to_log_probabilities(scores);
      penalize(scores, prompt, running[r].tokens, options.repetition_penalty);
      for (const double v : scores) candidates.push_back(running[r].score + v);
    }
    std::vector<Generated> kept;
    std::vector<size_t> source;
    // Twice as many as beams: at most half of them can end here.
    const std::vector<size_t> best = largest(candidates, 2 * beams);
    for (size_t rank = 0; rank < best.size() && kept.size() < beams; ++rank) {
      const size_t from = best[rank] / width;
      Generated text = running[from];
      text.tokens.push_back(static_cast<int32_t>(best[rank] % width));
      text.score = candidates[best[rank]];
      if (text.score == kNever) continue;
      if (options.end_token == text.tokens.back()) {
        if (rank < beams) finished.add(std::move(text));
        continue;
      }
      kept.push_back(std::move(text));
      source.push_back(from);
    }
    running = std::move(kept);
    const auto length = static_cast<size_t>(step + 1);
    if (running.empty() || finished.closed_to(running[0].score, length)) break;
    if (step + 1 == options.max_new_tokens) break;
    std::vector<int32_t> tokens;
    for (const Generated& text : running) tokens.push_back(text.tokens.back());
    logits = next({running.size(), tokens, source});
  }
  for (Generated& text : running) finished.add(std::move(text));
  return finished.take();
}

}  // namespace

void GenerationOptions::validate() const {
  if (max_new_tokens < 1) fail<UsageError>("[max_new_tokens] {}; at least 1 is needed", max_new_tokens);
  if (beams < 1) fail<UsageError>("[num_beams] {}; at least 1 is needed", beams);
  if (beams > 1 && sample) fail<UsageError>("[num_beams] {} beams and --do_sample exclude each other", beams);
  if (!(temperature > 0)) fail<UsageError>("[temperature] {}; more than 0 is needed", temperature);
  if (top_k < 0) fail<UsageError>("[top_k] {} is negative", top_k);
  if (!(top_p > 0) || top_p > 1) fail<UsageError>("[top_p] {}; more than 0 and at most 1 is needed", top_p);
  if (!(repetition_penalty > 0))
    fail<UsageError>("[repetition_penalty] {}; more than 0 is needed", repetition_penalty);
}

std::vector<Generated> generate(std::span<const int32_t> prompt, const NextTokenLogits& next,
                                const GenerationOptions& options) {
  options.validate();
  if (prompt.empty()) fail("[generation] the prompt has no tokens");
  if (options.beams > 1) return beam_search(prompt, next, options);
  return {one_path(prompt, next, options)};
}

}  // namespace qdqbert::tasks
