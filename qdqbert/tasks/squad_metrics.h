// Exact match and F1 of SQuAD v1.1 and v2.0, equal to the published scripts.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "qdqbert/base/json.h"
#include "qdqbert/tasks/squad_dataset.h"

namespace qdqbert::tasks {

/// Lower case, no ASCII punctuation, no articles, single spaces.
std::string normalize_answer(std::string_view text);

/// Of one question over its golds, 0 to 1.
struct QuestionScore {
  double exact = 0, f1 = 0;
};
/// Throws InputError without golds.
QuestionScore score_v1(std::string_view prediction, const std::vector<SquadAnswer>& answers);
QuestionScore score_v2(std::string_view prediction, const std::vector<SquadAnswer>& answers);

/// id -> answer text.
using Predictions = std::unordered_map<std::string, std::string>;

/// {exact_match, f1} in percent. A missing prediction scores 0 and is logged.
Json squad_metric(const std::vector<SquadExample>& examples, const Predictions& predictions);

/// One prediction of the v2.0 metric.
struct PredictionV2 {
  std::string id, text;
  double no_answer_probability = 0;
};
/// exact, f1, total, HasAns_*, NoAns_*, best_* in the original's order. `predictions` in the order in which
/// ties of the probability are walked.
Json squad_v2_metric(const std::vector<SquadExample>& examples, const std::vector<PredictionV2>& predictions,
                     double no_answer_threshold = 1.0);

}  // namespace qdqbert::tasks
