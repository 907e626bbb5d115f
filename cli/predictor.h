// What `predict` does with a request, task by task: a JSON answer.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/json.h"
#include "qdqbert/pipeline/embedder.h"
#include "qdqbert/pipeline/pipeline.h"
#include "qdqbert/pipeline/question_answerer.h"
#include "qdqbert/tasks/text_generation.h"

namespace qdqbert::cli {

struct TextRequest {
  std::string text;                  ///< of questions the question
  std::optional<std::string> pair;   ///< of questions the context
  std::vector<std::string> choices;  ///< multiple choice only
  std::string name{};                ///< of questions, in messages: "of line 3"
};

struct PredictorOptions {
  int64_t top_k = 5;       ///< scores, fillers that an answer lists
  double threshold = 0.5;  ///< of labels that are independent of each other
  pipeline::EmbedderOptions embeddings;
  tasks::GenerationOptions generation;
  bool use_cache = true;  ///< generation: false computes the whole text for every token
  pipeline::QuestionOptions questions;
  int64_t n_best = 1;  ///< questions: answers that are listed
};

class Predictor {
 public:
  /// A request as tokens.
  class Prepared {
   public:
    virtual ~Prepared() = default;
    virtual size_t tokens() const = 0;
  };

  virtual ~Predictor() = default;
  /// Throws InputError for requests that do not fit the task.
  virtual std::unique_ptr<const Prepared> prepare(const TextRequest& request) const = 0;
  /// Answers in their order, from runs that all of them share. `prepared`: of this object.
  virtual std::vector<Json> answer(std::span<const Prepared* const> prepared,
                                   const pipeline::RunControl& control) const = 0;
  /// The answer for people.
  virtual std::string describe(const Json& answer) const = 0;
};

/// Throws InputError when the model's outputs do not fit the task, or its labels the outputs.
std::unique_ptr<Predictor> make_predictor(pipeline::TaskKind task, const pipeline::Pipeline& pipeline,
                                          const PredictorOptions& options);

}  // namespace qdqbert::cli
