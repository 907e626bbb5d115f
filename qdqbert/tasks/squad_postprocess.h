// From start and end logits to answers, as the original's example program chooses them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/json.h"
#include "qdqbert/tasks/squad_dataset.h"
#include "qdqbert/text/tokenizer.h"

namespace qdqbert::tasks {

struct AnswerOptions {
  bool version_2 = false;  ///< questions may have no answer
  int64_t n_best_size = 20;
  int64_t max_answer_length = 30;  ///< tokens
  double null_score_diff_threshold = 0;
};

/// What the logits of one feature stand for. offsets[t] belongs to column t;
/// columns outside the context are marked.
struct AnswerFeature {
  size_t example = 0;
  std::vector<text::Offset> offsets;
  std::vector<uint8_t> is_context;
};

/// One row of logits each. Rows may be shorter or longer than the feature's offsets.
struct FeatureLogits {
  std::span<const float> start, end;
};

/// Type of the arithmetic: the type of the logits. Half values come widened to float.
enum class LogitType { kFloat32, kFloat16 };

struct Candidate {
  std::string text;
  double start_logit = 0, end_logit = 0, probability = 0;
  bool placeholder = false;  ///< the "empty" entry that stands where nothing was found
  text::Offset span{0, 0};   ///< of the text in the context; empty for no answer
};

struct ExampleAnswer {
  std::string text;
  std::vector<Candidate> n_best;
  double null_odds = 0;  ///< version_2: score of no answer minus score of the best one
};

/// The feature at `index`; called once for each, in ascending order.
using FeatureSource = std::function<AnswerFeature(size_t index)>;

/// One answer per example, in order. Equal logits rank by larger index first. Where the original crashes
/// (version_2 and all candidates empty, or an example without features) the answer is empty.
std::vector<ExampleAnswer> find_answers(const std::vector<SquadExample>& examples, size_t feature_count,
                                        const FeatureSource& feature, std::span<const FeatureLogits> logits,
                                        const AnswerOptions& options, LogitType type = LogitType::kFloat32);

/// id -> text; id -> candidates; id -> null odds. The files of the original are
/// dump_json(..., {indent 4, final newline}).
Json predictions_json(const std::vector<SquadExample>& examples, const std::vector<ExampleAnswer>& answers);
Json n_best_json(const std::vector<SquadExample>& examples, const std::vector<ExampleAnswer>& answers);
Json null_odds_json(const std::vector<SquadExample>& examples, const std::vector<ExampleAnswer>& answers);

}  // namespace qdqbert::tasks
