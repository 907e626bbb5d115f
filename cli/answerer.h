// Questions about texts to answers: tokenizer, session and choice of spans together.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "qdqbert/tasks/squad_evaluation.h"
#include "qdqbert/text/tokenizer.h"

#include "cli/span_model.h"

namespace qdqbert::cli {

class Answerer {
 public:
  /// `features` must be without padding. Session and tokenizer have to live as long as this object.
  Answerer(const engine::Session& session, std::string name, const text::Tokenizer& tokenizer,
           const tasks::FeatureOptions& features, const tasks::AnswerOptions& answers,
           size_t tokens_per_batch);

  /// Windows of examples. Throws InputError naming a question without room for its context.
  tasks::SquadFeatures features_of(const std::vector<tasks::SquadExample>& examples, int threads = 1,
                                   const ProgressSink& progress = {}) const;

  /// Logits of rows in their order, run in batches by tokens. `progress` hears of each batch and may throw.
  std::vector<RowLogits> logits_of(const std::vector<FeatureRow>& rows, const ProgressSink& progress) const;

  /// Answers of examples from the logits of all rows of their features.
  std::vector<tasks::ExampleAnswer> choose(const std::vector<tasks::SquadExample>& examples,
                                           const tasks::SquadFeatures& features,
                                           std::span<const RowLogits> logits) const;

 private:
  SpanModel model_;
  const text::Tokenizer& tokenizer_;
  tasks::FeatureOptions features_;
  tasks::AnswerOptions answers_;
  size_t tokens_per_batch_;
};

std::vector<FeatureRow> rows_of(const tasks::SquadFeatures& features);
tasks::SquadExample example_of(std::string id, std::string question, std::string context);

}  // namespace qdqbert::cli
