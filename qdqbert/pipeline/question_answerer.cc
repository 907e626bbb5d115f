#include "qdqbert/pipeline/question_answerer.h"

namespace qdqbert::pipeline {

namespace {

void check_utf8(const char* which, std::string_view text) {
  if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
    fail("[qa] the {} is not valid UTF-8 at byte {}", which, bad + 1);
}

AnswerCandidate candidate_of(const tasks::Candidate& candidate, const CodePointIndex& context) {
  if (candidate.placeholder) return {};
  return {candidate.text, candidate.probability,
          text_span(context, candidate.span.begin, candidate.span.end)};
}

}  // namespace

Answer answer_of(const tasks::ExampleAnswer& found, std::string_view context, bool version_2) {
  const CodePointIndex index(context);
  Answer answer;
  if (const tasks::Candidate* winner = winner_of(found, version_2))
    answer.best = candidate_of(*winner, index);
  for (const tasks::Candidate& candidate : found.n_best)
    if (!candidate.placeholder) answer.candidates.push_back(candidate_of(candidate, index));
  if (version_2) answer.null_odds = found.null_odds;
  return answer;
}

size_t PreparedQuestion::tokens() const {
  size_t sum = 0;
  for (size_t f = 0; f < features.size(); ++f) sum += features[f].length;
  return sum;
}

QuestionAnswerer::QuestionAnswerer(Pipeline pipeline, const QuestionOptions& options)
    : Task((pipeline.require(TaskKind::kQuestions), std::move(pipeline))),
      answers_(options.answers),
      answerer_(this->pipeline(), options) {}

PreparedQuestion QuestionAnswerer::prepare(const Question& question) const {
  check_utf8("question", question.question);
  check_utf8("context", question.context);
  std::vector<tasks::SquadExample> examples = {
      example_of(question.name, question.question, question.context)};
  tasks::SquadFeatures features = answerer_.features_of(examples);
  return {std::move(examples), std::move(features)};
}

std::vector<Answer> QuestionAnswerer::answer_together(std::span<const PreparedQuestion* const> prepared,
                                                      const RunControl& control) const {
  std::vector<FeatureRow> rows;
  for (const PreparedQuestion* one : prepared)
    for (size_t f = 0; f < one->features.size(); ++f) rows.push_back({&one->features, f});
  const std::vector<RowLogits> logits = answerer_.logits_of(rows, control);
  std::vector<Answer> answers;
  std::span<const RowLogits> rest = logits;
  for (const PreparedQuestion* one : prepared) {
    const tasks::ExampleAnswer found =
        answerer_.choose(one->examples, one->features, rest.first(one->features.size()))[0];
    rest = rest.subspan(one->features.size());
    answers.push_back(answer_of(found, *one->examples[0].context, answers_.version_2));
  }
  return answers;
}

}  // namespace qdqbert::pipeline
