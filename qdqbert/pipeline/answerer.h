// Questions about texts to answers: tokenizer, session and choice of spans together.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "qdqbert/pipeline/pipeline.h"
#include "qdqbert/pipeline/span_model.h"
#include "qdqbert/tasks/squad_evaluation.h"
#include "qdqbert/text/tokenizer.h"

namespace qdqbert::pipeline {

struct QuestionOptions {
  std::optional<size_t> stride;  ///< tokens that two windows of a context share; default: a third of a window
  tasks::AnswerOptions answers;
};

/// Questions of a data set; for single ones see QuestionAnswerer.
class Answerer {
 public:
  /// Throws InputError when the model's outputs are not start and end logits, UsageError for a stride that
  /// leaves no room.
  explicit Answerer(Pipeline pipeline, const QuestionOptions& options = {});

  /// Windows of examples. Throws InputError naming a question without room for its context.
  tasks::SquadFeatures features_of(const std::vector<tasks::SquadExample>& examples, int threads = 1,
                                   const ProgressSink& progress = {}) const;

  /// Logits of rows in their order, run in batches by tokens.
  std::vector<RowLogits> logits_of(const std::vector<FeatureRow>& rows, const RunControl& control = {}) const;

  /// Answers of examples from the logits of all rows of their features.
  std::vector<tasks::ExampleAnswer> choose(const std::vector<tasks::SquadExample>& examples,
                                           const tasks::SquadFeatures& features,
                                           std::span<const RowLogits> logits) const;

 private:
  Pipeline pipeline_;
  SpanModel model_;
  tasks::FeatureOptions features_;
  tasks::AnswerOptions answers_;
};

/// The candidate that is the answer; null where there is none. `version_2`: questions may have no answer.
const tasks::Candidate* winner_of(const tasks::ExampleAnswer& answer, bool version_2);

std::vector<FeatureRow> rows_of(const tasks::SquadFeatures& features);
tasks::SquadExample example_of(std::string id, std::string question, std::string context);

}  // namespace qdqbert::pipeline
