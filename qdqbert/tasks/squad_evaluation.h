// From the logits of a whole data set to answers, files and scores, whoever made the logits.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "qdqbert/base/json.h"
#include "qdqbert/tasks/squad_features.h"
#include "qdqbert/tasks/squad_postprocess.h"

namespace qdqbert::tasks {

/// Start and end logits of all features, one run after the other.
struct SquadLogits {
  std::vector<size_t> begin;  ///< of each feature; one more at the end
  std::vector<float> start, end;
  std::vector<FeatureLogits> rows() const;
};

struct SquadEvaluation {
  std::vector<ExampleAnswer> answers;
  /// {exact_match, f1} or the v2 metric; null when the examples have no answers to compare with.
  Json metrics;
};

/// Throws InputError, with the remedy, where some of the questions of a file have answers and others none: the
/// scores of version 1 know no unanswerable question.
void require_scorable_v1(const std::vector<SquadExample>& examples, const std::string& name);

/// Answers from logits, and their scores where `score` is set.
SquadEvaluation evaluate_squad(const std::vector<SquadExample>& examples, const SquadFeatures& features,
                               const SquadLogits& logits, const AnswerOptions& options, bool score);

/// Writes `<prefix>_predictions.json`, `<prefix>_nbest_predictions.json` and,
/// for version 2, `<prefix>_null_odds.json`.
void write_answers(const std::filesystem::path& directory, const std::string& prefix,
                   const std::vector<SquadExample>& examples, const SquadEvaluation& evaluation,
                   bool version_2);

}  // namespace qdqbert::tasks
