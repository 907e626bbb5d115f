// Questions about texts, answered by places in them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/pipeline/answerer.h"
#include "qdqbert/pipeline/task.h"
#include "qdqbert/pipeline/text_span.h"

namespace qdqbert::pipeline {

struct Question {
  std::string question, context;        ///< UTF-8
  std::string name = "of the request";  ///< in messages, behind "question"
};

/// A place in the context that may answer.
struct AnswerCandidate {
  std::string text;  ///< of the context; "" for "there is no answer"
  double score = 0;  ///< probability among the candidates, 0 to 1
  TextSpan place;    ///< in the context; empty for "there is no answer"
};

struct Answer {
  AnswerCandidate best;
  std::vector<AnswerCandidate> candidates;  ///< best first, at most AnswerOptions::n_best_size
  /// With AnswerOptions::version_2: score of "no answer" less that of the best one.
  std::optional<double> null_odds;
};

/// What was found in a context, in terms of places in it. `version_2`: questions may have no answer.
Answer answer_of(const tasks::ExampleAnswer& found, std::string_view context, bool version_2);

/// A question as windows of tokens.
struct PreparedQuestion {
  std::vector<tasks::SquadExample> examples;  ///< one
  tasks::SquadFeatures features;              ///< its windows
  size_t tokens() const;                      ///< of all windows
};

class QuestionAnswerer : public Task<Question, PreparedQuestion, Answer> {
 public:
  /// Throws InputError when the model is for another task or its outputs do not fit, UsageError for a stride
  /// that leaves no room.
  explicit QuestionAnswerer(Pipeline pipeline, const QuestionOptions& options = {});

  using Task::answer;
  Answer answer(std::string question, std::string context, const RunControl& control = {}) const {
    return Task::answer(Question{std::move(question), std::move(context)}, control);
  }

  /// Throws InputError for a question without room for its context too.
  PreparedQuestion prepare(const Question& question) const override;

  std::vector<Answer> answer_together(std::span<const PreparedQuestion* const> prepared,
                                      const RunControl& control = {}) const override;

 private:
  tasks::AnswerOptions answers_;
  Answerer answerer_;
};

}  // namespace qdqbert::pipeline
