// Text token by token from whatever gives next-token logits: greedy, sampling, beam search.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace qdqbert::tasks {

struct GenerationOptions {
  int64_t max_new_tokens = 20;
  int64_t beams = 1;
  bool sample = false;  ///< draw instead of taking the best; excludes beams > 1
  double temperature = 1;
  int64_t top_k = 50;  ///< sampling considers this many tokens; 0: all
  double top_p = 1;    ///< and of these the most probable ones that together reach this
  /// Scores of tokens that occurred are divided (above 0) or multiplied (below 0) by it.
  double repetition_penalty = 1;
  double length_penalty = 1;  ///< beams are compared by log probability / length ^ length_penalty
  std::optional<int32_t> end_token{};
  uint64_t seed = 42;

  /// Throws UsageError for values outside their range.
  void validate() const;
};

/// One step of a model with a cache. The first call has one row: the whole prompt. Later ones have one token
/// a row; row r continues row source[r] of the call before. Returns logits [rows][vocabulary] behind the last
/// token, valid until the next call.
struct GenerationStep {
  size_t rows = 1;
  std::span<const int32_t> tokens;
  std::span<const size_t> source;
};
using NextTokenLogits = std::function<std::span<const float>(const GenerationStep& step)>;

struct Generated {
  std::vector<int32_t> tokens;  ///< without the prompt, the end token included where it was reached
  double score = 0;             ///< sum of log probabilities; of beams divided by length ^ length_penalty
};

/// Best continuation first; one, or with beams as many as beams. Equal logits: the smaller id.
std::vector<Generated> generate(std::span<const int32_t> prompt, const NextTokenLogits& next,
                                const GenerationOptions& options);

}  // namespace qdqbert::tasks
