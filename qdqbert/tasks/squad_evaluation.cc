#include "qdqbert/tasks/squad_evaluation.h"

#include <algorithm>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/tasks/squad_metrics.h"

namespace qdqbert::tasks {

std::vector<FeatureLogits> SquadLogits::rows() const {
  std::vector<FeatureLogits> rows;
  for (size_t f = 0; f + 1 < begin.size(); ++f) {
    const size_t count = begin[f + 1] - begin[f];
    rows.push_back({std::span(start).subspan(begin[f], count), std::span(end).subspan(begin[f], count)});
  }
  return rows;
}

void require_scorable_v1(const std::vector<SquadExample>& examples, const std::string& name) {
  const auto is_unanswered = [](const SquadExample& example) { return example.answers.empty(); };
  const auto unanswered = std::count_if(examples.begin(), examples.end(), is_unanswered);
  if (unanswered == 0 || unanswered == std::ssize(examples)) return;
  const auto first = std::find_if(examples.begin(), examples.end(), is_unanswered);
  fail(
      "[squad] {}: {} of {} questions have no answer, the first is question \"{}\"; SQuAD v2 is scored with "
      "--version_2_with_negative",
      name, unanswered, examples.size(), first->id);
}

SquadEvaluation evaluate_squad(const std::vector<SquadExample>& examples, const SquadFeatures& features,
                               const SquadLogits& logits, const AnswerOptions& options, bool score) {
  SquadEvaluation evaluation;
  const auto rows = logits.rows();
  evaluation.answers = find_answers(
      examples, features.size(),
      [&](size_t f) {
        AnswerFeature feature;
        feature.example = features[f].example;
        features.offsets(f, feature.offsets, feature.is_context);
        return feature;
      },
      rows, options);
  if (!score) return evaluation;
  if (options.version_2) {
    std::vector<PredictionV2> predictions;
    for (size_t e = 0; e < examples.size(); ++e)
      predictions.push_back({examples[e].id, evaluation.answers[e].text, 0.0});
    evaluation.metrics = squad_v2_metric(examples, predictions);
  } else {
    Predictions predictions;
    for (size_t e = 0; e < examples.size(); ++e) predictions[examples[e].id] = evaluation.answers[e].text;
    evaluation.metrics = squad_metric(examples, predictions);
  }
  return evaluation;
}

void write_answers(const std::filesystem::path& directory, const std::string& prefix,
                   const std::vector<SquadExample>& examples, const SquadEvaluation& evaluation,
                   bool version_2) {
  constexpr JsonStyle kStyle{4, false, true, true};
  const auto write = [&](const char* name, const Json& json) {
    write_file(directory / fmt::format("{}_{}.json", prefix, name), dump_json(json, kStyle));
  };
  write("predictions", predictions_json(examples, evaluation.answers));
  write("nbest_predictions", n_best_json(examples, evaluation.answers));
  if (version_2) write("null_odds", null_odds_json(examples, evaluation.answers));
}

}  // namespace qdqbert::tasks
