// From texts to labels, entities, words and vectors as a library, over small models with random weights.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/pipeline/chooser.h"
#include "qdqbert/pipeline/classifier.h"
#include "qdqbert/pipeline/embedder.h"
#include "qdqbert/pipeline/generator.h"
#include "qdqbert/pipeline/mask_filler.h"
#include "qdqbert/pipeline/next_sentence.h"
#include "qdqbert/pipeline/tagger.h"

#include "tests/e2e/engine_model.h"
#include "tests/pipeline/error_of.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TextTasksTest : public ::testing::Test {
 protected:
  Pipeline open(onnx::GraphHead head, const Json& config = Json::object(), bool decoder = false) {
    testing::write_engine_model(scratch_ / "model", head, true, decoder);
    write_file(scratch_ / "model" / "config.json", dump_json(config));
    PipelineOptions options;
    options.session.threads = 1;
    options.max_length = 32;
    options.tokens_per_batch = 48;
    return Pipeline::from_directory(scratch_ / "model", options);
  }

  /// `texts` together, one by one, and backwards give the same, as `text_of` shows them.
  template <class Task, class TextOf>
  static void expect_no_company_effect(const Task& task,
                                       const std::vector<typename Task::RequestType>& requests,
                                       const TextOf& text_of) {
    const auto together = task.answer(std::span(requests));
    ASSERT_EQ(together.size(), requests.size());
    for (size_t i = 0; i < requests.size(); ++i)
      EXPECT_EQ(text_of(together[i]), text_of(task.answer(requests[i]))) << "request " << i;
  }

  static std::vector<TextRequest> texts() {
    std::vector<TextRequest> list;
    for (const testing::Question& q : testing::real_questions(4)) {
      list.push_back({q.question, {}});
      list.push_back({q.question, q.context});  // longer than the model is asked to read
    }
    return list;
  }

  ScratchDirectory scratch_;
};

TEST_F(TextTasksTest, ClassifierRanksLabelsAndSaysWhatItDidNotRead) {
  const Classifier classifier(
      open(onnx::GraphHead::kSequenceClassification, {{"id2label", {{"0", "no"}, {"1", "yes"}}}}));
  EXPECT_THAT(classifier.labels(), ElementsAre("no", "yes"));
  expect_no_company_effect(classifier, texts(), [](const Classification& answer) {
    std::string text;
    for (const LabelScore& one : answer.scores)
      text += fmt::format("{} {} {}\n", one.index, one.label, one.score);
    return text;
  });
  const auto answers = classifier.answer(std::span<const TextRequest>(texts()));
  for (size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i].truncated, i % 2 == 1);
    ASSERT_EQ(answers[i].scores.size(), 2U);
    EXPECT_NEAR(answers[i].scores[0].score + answers[i].scores[1].score, 1, 1e-12);
    EXPECT_GE(answers[i].scores[0].score, answers[i].scores[1].score);
    ASSERT_EQ(answers[i].labels.size(), 1U);
    EXPECT_EQ(answers[i].labels[0].label, classifier.labels()[answers[i].scores[0].index]);
  }
}

TEST_F(TextTasksTest, IndependentLabelsAreThoseThatReachTheThreshold) {
  const Pipeline pipeline =
      open(onnx::GraphHead::kSequenceClassification, {{"problem_type", "multi_label_classification"}});
  ClassifierOptions options;
  options.threshold = 0;
  options.top_k = 1;
  const Classification all = Classifier(pipeline, options).answer({"It rains.", {}});
  EXPECT_EQ(all.labels.size(), 2U);
  EXPECT_EQ(all.scores.size(), 1U);
  options.threshold = 1.01;
  EXPECT_TRUE(Classifier(pipeline, options).answer({"It rains.", {}}).labels.empty());
}

TEST_F(TextTasksTest, TaggerGivesEveryWordItsPlaceInBothUnits) {
  const Tagger tagger(open(onnx::GraphHead::kTokenClassification, {{"id2label", {{"0", "A"}, {"1", "B"}}}}));
  std::string text = "Łódź und Zürich: 日本 cafés.";
  for (int i = 0; i < 4; ++i) text += " More of Ada Lovelace's naïve words follow here.";  // several windows
  ASSERT_GT(tagger.prepare(text).rows.size(), 2U);
  const Tagging answer = tagger.answer(text);
  ASSERT_GT(answer.words.size(), 40U);
  size_t before = 0;
  for (const TaggedWord& word : answer.words) {
    EXPECT_GE(word.place.byte_begin, before);
    before = word.place.byte_end;
    EXPECT_EQ(count_code_points(text.substr(0, word.place.byte_begin)), word.place.begin);
    EXPECT_EQ(word.label, tagger.labels()[word.index]);
  }
  EXPECT_EQ(before, text.size());
  ASSERT_FALSE(answer.entities.empty());
  for (const TaggedEntity& entity : answer.entities)
    EXPECT_EQ(entity.text,
              text.substr(entity.place.byte_begin, entity.place.byte_end - entity.place.byte_begin));
}

TEST_F(TextTasksTest, ChooserWeighsChoicesAgainstEachOther) {
  const Chooser chooser(open(onnx::GraphHead::kMultipleChoice));
  const Choice choice = chooser.answer({"She opened the door and", {"went in.", "flew.", "a piano."}});
  ASSERT_EQ(choice.scores.size(), 3U);
  EXPECT_NEAR(choice.scores[0] + choice.scores[1] + choice.scores[2], 1, 1e-12);
  for (const double score : choice.scores) EXPECT_LE(score, choice.scores[choice.index]);
  EXPECT_THAT(error_of([&] { chooser.answer({"One", {"choice"}}); }), HasSubstr("1 choice is given"));
}

TEST_F(TextTasksTest, MaskFillerFillsEachMaskAlone) {
  const MaskFiller filler(open(onnx::GraphHead::kLanguageModel), {.top_k = 3});
  const FilledText answer = filler.answer({"the [MASK] of [MASK] .", {}});
  ASSERT_EQ(answer.masks.size(), 2U);
  for (size_t m = 0; m < 2; ++m) {
    ASSERT_EQ(answer.masks[m].size(), 3U);
    EXPECT_GE(answer.masks[m][0].score, answer.masks[m][1].score);
    for (const Filler& one : answer.masks[m])
      EXPECT_EQ(one.token, filler.pipeline().tokenizer().vocabulary().token(one.id));
  }
  EXPECT_THAT(error_of([&] { filler.answer({"nothing to fill in", {}}); }), HasSubstr("hold no [MASK]"));
}

TEST_F(TextTasksTest, NextSentenceIsAProbability) {
  const NextSentence next(open(onnx::GraphHead::kNextSentence));
  const NextSentenceAnswer answer = next.answer({"It rains.", "We stay in."});
  EXPECT_GT(answer.score, 0);
  EXPECT_LT(answer.score, 1);
  EXPECT_EQ(answer.is_next, answer.score >= 0.5);
}

TEST_F(TextTasksTest, EmbedderPoolsAndNormalizes) {
  const Pipeline pipeline = open(onnx::GraphHead::kBase);
  const auto length = [](const std::vector<float>& values) {
    double square = 0;
    for (const float value : values) square += double{value} * double{value};
    return std::sqrt(square);
  };
  const Embedder embedder(pipeline);
  expect_no_company_effect(embedder, texts(),
                           [](const Embedding& e) { return fmt::format("{}", fmt::join(e.values, " ")); });
  EXPECT_NEAR(length(embedder.answer({"It rains.", {}}).values), 1, 1e-6);
  const auto raw = [&](tasks::Pooling pooling) {
    tasks::SentenceModel sentence;
    sentence.pooling = {pooling};
    sentence.steps.clear();
    return Embedder(pipeline, {.sentence = sentence}).answer({"It rains.", {}}).values;
  };
  EXPECT_GT(std::abs(length(raw(tasks::Pooling::kMean)) - 1), 1e-3);
  EXPECT_NE(raw(tasks::Pooling::kMean), raw(tasks::Pooling::kCls));
}

TEST_F(TextTasksTest, GeneratorContinuesWithAndWithoutItsCache) {
  const Pipeline pipeline = open(onnx::GraphHead::kLanguageModel, Json::object(), true);
  GeneratorOptions options;
  options.generation.max_new_tokens = 6;
  const Generator cached(pipeline, options);
  options.use_cache = false;
  const GeneratedText one = cached.answer("the house"),
                      other = Generator(pipeline, options).answer("the house");
  EXPECT_EQ(one.tokens, other.tokens);
  EXPECT_EQ(one.text, other.text);
  EXPECT_LE(one.tokens.size(), 6U);
  EXPECT_EQ(one.ended, one.tokens.back() == pipeline.tokenizer().sep_id());
  int heard = 0;
  RunControl control;
  control.progress = [&](std::string_view, int64_t, int64_t) {
    if (++heard == 2) throw Cancelled("enough");
  };
  EXPECT_THROW(cached.answer("the house", control), Cancelled);
  EXPECT_EQ(heard, 2) << "tokens were made after the caller had had enough";
  EXPECT_THAT(error_of([&] { cached.answer(std::string(200, '.')); }), HasSubstr("do not fit"));
}

TEST_F(TextTasksTest, BadTextsAndForeignModelsAreNamed) {
  const Pipeline pipeline = open(onnx::GraphHead::kSequenceClassification);
  const Classifier classifier(pipeline);
  EXPECT_THAT(error_of([&] { classifier.answer({"", {}}); }), HasSubstr("the text is empty"));
  EXPECT_THAT(error_of([&] { classifier.answer({"ab\xff", {}}); }), HasSubstr("not valid UTF-8 at byte 3"));
  const std::vector<TextRequest> list = {{"good", {}}, {"", {}}};
  EXPECT_THAT(error_of([&] { classifier.answer(std::span(list)); }),
              HasSubstr("request 1: the text is empty"));
  EXPECT_THAT(error_of([&] { Embedder{pipeline}; }), HasSubstr("has shape"));
  EXPECT_THROW(Classifier(pipeline, {.top_k = 0, .threshold = 0.5}), UsageError);
}

}  // namespace
}  // namespace qdqbert::pipeline
