// From questions to answers as a library, over a small model with random weights.
#include "qdqbert/pipeline/question_answerer.h"

#include <algorithm>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/engine_model.h"
#include "tests/pipeline/error_of.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::pipeline {
namespace {

using ::testing::HasSubstr;

/// All that an answer holds.
std::string text_of(const Answer& answer) {
  std::string text;
  for (const AnswerCandidate& c : answer.candidates)
    text += fmt::format("{} {} {} {} {} {}\n", c.text, c.score, c.place.begin, c.place.end,
                        c.place.byte_begin, c.place.byte_end);
  return text;
}

class QuestionAnswererTest : public ::testing::Test {
 protected:
  Pipeline open(onnx::GraphHead head = onnx::GraphHead::kQuestionAnswering) {
    testing::write_engine_model(scratch_ / "model", head);
    PipelineOptions options;
    options.session.threads = 1;
    options.session.streams = 2;
    options.max_length = 64;
    options.tokens_per_batch = 96;
    return Pipeline::from_directory(scratch_ / "model", options);
  }

  static std::vector<Question> questions() {
    std::vector<Question> list;
    for (const testing::Question& q : testing::real_questions(6)) list.push_back({q.question, q.context});
    return list;
  }

  ScratchDirectory scratch_;
};

TEST_F(QuestionAnswererTest, PlacesAreGivenInCodePointsAndInBytes) {
  const QuestionAnswerer answerer(open());
  const std::string context =
      "Łódź has 日本語 schools, naïve cafés and 🙂 people; Zürich has none.";
  const Answer answer = answerer.answer("Who has schools?", context);
  ASSERT_FALSE(answer.candidates.empty());
  bool apart = false;
  for (const AnswerCandidate& c : answer.candidates) {
    EXPECT_EQ(c.text, context.substr(c.place.byte_begin, c.place.byte_end - c.place.byte_begin));
    EXPECT_EQ(count_code_points(context.substr(0, c.place.byte_begin)), c.place.begin);
    EXPECT_EQ(count_code_points(c.text), c.place.end - c.place.begin);
    apart = apart || c.place.begin != c.place.byte_begin;
  }
  EXPECT_TRUE(apart) << "no candidate stands behind a character of several bytes";
}

TEST_F(QuestionAnswererTest, AnswersDoNotDependOnWhatSharesTheRun) {
  const Pipeline pipeline = open();
  ASSERT_TRUE(pipeline.session().bit_exact());
  const QuestionAnswerer answerer(pipeline);
  const std::vector<Question> list = questions();
  const std::vector<Answer> together = answerer.answer(list);
  ASSERT_EQ(together.size(), list.size());
  // As a server does: several callers' questions in the same runs.
  std::vector<PreparedQuestion> prepared;
  for (const Question& question : list) prepared.push_back(answerer.prepare(question));
  std::vector<const PreparedQuestion*> backward;
  for (size_t i = list.size(); i-- > 0;) backward.push_back(&prepared[i]);
  std::vector<Answer> apart = answerer.answer_together(backward);
  std::reverse(apart.begin(), apart.end());
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string expected = text_of(answerer.answer(list[i].question, list[i].context));
    EXPECT_EQ(text_of(together[i]), expected);
    EXPECT_EQ(text_of(apart[i]), expected);
  }
}

TEST_F(QuestionAnswererTest, AStopEndsTheCallBetweenRuns) {
  const QuestionAnswerer answerer(open());
  const std::vector<Question> list = questions();
  std::stop_source source;
  int runs = 0;
  RunControl control;
  control.stop = source.get_token();
  control.progress = [&](std::string_view, int64_t done, int64_t total) {
    EXPECT_LT(done, total);
    ++runs;
    source.request_stop();
  };
  EXPECT_THROW(answerer.answer(list, control), Cancelled);
  EXPECT_EQ(runs, 1);
  EXPECT_THROW(answerer.answer(list, control), Cancelled);
  EXPECT_EQ(runs, 1) << "a run was made after the stop";
}

TEST_F(QuestionAnswererTest, TwoThreadsUseOnePipeline) {
  const QuestionAnswerer answerer(open());
  const std::vector<Question> list = questions();
  const std::vector<Answer> expected = answerer.answer(list);
  std::vector<Answer> forward, backward(list.size());
  std::thread other([&] { forward = answerer.answer(list); });
  for (size_t i = list.size(); i-- > 0;) backward[i] = answerer.answer(list[i].question, list[i].context);
  other.join();
  for (size_t i = 0; i < list.size(); ++i) {
    EXPECT_EQ(text_of(forward.at(i)), text_of(expected[i]));
    EXPECT_EQ(text_of(backward[i]), text_of(expected[i]));
  }
}

TEST_F(QuestionAnswererTest, RefusesWhatItCannotAnswer) {
  const QuestionAnswerer answerer(open());
  EXPECT_THAT(error_of([&] { answerer.answer("Who?", "ab\xff"); }),
              HasSubstr("the context is not valid UTF-8 at byte 3"));
  QuestionOptions options;
  options.stride = 64;
  EXPECT_THROW(QuestionAnswerer(answerer.pipeline(), options), UsageError);
}

TEST(AnswerOfTest, PlaceholdersAndNoAnswer) {
  tasks::ExampleAnswer found;
  found.text = "b";
  found.n_best = {{"b", 1, 2, 0.75, false, {3, 4}}, {"", 0, 0, 0.25, false, {0, 0}}};
  const std::string context = "日本 b";
  const Answer answer = answer_of(found, context, false);
  EXPECT_EQ(text_of(answer), "b 0.75 3 4 7 8\n 0.25 0 0 0 0\n");
  EXPECT_EQ(answer.best.text, "b");
  EXPECT_EQ(answer.best.place.byte_begin, 7U);
  EXPECT_FALSE(answer.null_odds);
  found.text = "";
  found.null_odds = 1.5;
  const Answer none = answer_of(found, context, true);
  EXPECT_EQ(none.best.text, "");
  EXPECT_EQ(none.best.score, 0.25);
  EXPECT_EQ(none.null_odds, 1.5);
  found.text = "empty";
  found.n_best = {{"empty", 0, 0, 1, true, {0, 0}}};
  const Answer nothing = answer_of(found, context, false);
  EXPECT_EQ(nothing.best.text, "");
  EXPECT_EQ(nothing.best.score, 0);
  EXPECT_TRUE(nothing.candidates.empty());
}

TEST_F(QuestionAnswererTest, ModelsOfOtherTasksAreRefused) {
  const Pipeline classifier = open(onnx::GraphHead::kSequenceClassification);
  EXPECT_THAT(error_of([&] { QuestionAnswerer{classifier}; }), HasSubstr("does not answer questions"));
  write_file(scratch_ / "model" / "config.json", R"({"architectures": ["BertForTokenClassification"]})");
  const Pipeline tagger = Pipeline::from_directory(scratch_ / "model");
  EXPECT_THAT(error_of([&] { QuestionAnswerer{tagger}; }),
              HasSubstr("is a model for tag, qa was asked of it"));
}

}  // namespace
}  // namespace qdqbert::pipeline
