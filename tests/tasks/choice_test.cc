#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/tasks/choice_features.h"

#include "tests/support/golden.h"
#include "tests/support/scratch_directory.h"
#include "tests/tasks/letters_tokenizer.h"

namespace qdqbert::tasks {
namespace {

using ::testing::ElementsAre;

ChoiceData json(const std::string& text, bool labels = true) {
  return parse_choices(parse_records(text, RecordFormat::kJsonLines, "c.jsonl"), labels);
}

TEST(ChoiceDataset, FormsOfTheSameExample) {
  for (
      const ChoiceData& data :
      {parse_choices(parse_records("video-id,sent1,sent2,ending0,ending1,label\nv,who,it,a,b,1\n",
                                   RecordFormat::kCsv, "c.csv")),
       json(R"({"prompt":"who","choices":["it a","it b"],"answer":1})"),
       json(R"({"question":"who","choices":["it a","it b"],"label":"it b"})"),
       json(
           R"({"id":"7","question":{"stem":"who","choices":[{"label":"A","text":"it a"},{"label":"B","text":"it b"}]},"answerKey":"B"})"),
       parse_codah("n\twho\tit a\tit b\t1\n", "c.tsv")}) {
    ASSERT_EQ(data.examples.size(), 1u);
    EXPECT_TRUE(data.labelled);
    EXPECT_EQ(data.examples[0].prompt, "who");
    EXPECT_THAT(data.examples[0].choices, ElementsAre("it a", "it b"));
    EXPECT_EQ(data.examples[0].answer, 1);
  }
  EXPECT_EQ(json(R"({"context":"c","question":"q","choices":["a"],"answer":0})").examples[0].prompt, "c q");
  EXPECT_FALSE(json(R"({"prompt":"p","choices":["a","b"],"label":-1})", false).labelled);
}

TEST(ChoiceFeatures, AnyNumberOfChoices) {
  const ChoiceData data = json(
      "{\"prompt\":\"the dog\",\"choices\":[\"a\",\"b\",\"c\"],\"answer\":2}\n"
      "{\"prompt\":\"a\",\"choices\":[\"the\"],\"answer\":0}");
  EXPECT_FALSE(data.uniform());
  EXPECT_EQ(data.most_choices(), 3u);
  EXPECT_EQ(data.choice_count(), 4u);
  const ChoiceFeatures features = ChoiceFeatures::build(data, letters_tokenizer(), 32);
  EXPECT_THAT(features.begin, ElementsAre(0, 3, 4));
  EXPECT_EQ(features.rows.size(), 4u);
  const auto predictions = choice_predictions(features, {1, 3, 3, -5});
  EXPECT_EQ(predictions[0].best, 1) << "equal logits: the smaller index";
  EXPECT_NEAR(predictions[0].scores[0], std::exp(-2) / (2 + std::exp(-2)), 1e-12);
  EXPECT_THAT(predictions[1].scores, ElementsAre(1));
  EXPECT_EQ(choice_metrics(data, predictions)["accuracy"], 0.5);
  const ScratchDirectory directory;
  write_choice_predictions(directory.path(), "predict", data, predictions);
  EXPECT_EQ(read_json(directory / "predict_predictions.json"), Json({{"0", 1}, {"1", 0}}));
  const Json ranked = testing::read_json_lines(directory / "predict_choices.jsonl").at(0)["ranked"];
  EXPECT_EQ(ranked[0]["text"], "b");
  EXPECT_EQ(ranked[2]["choice"], 0);
}

TEST(ChoiceDataset, PublicSetsHaveTheSizesThatTheyState) {
  const struct {
    const char* set;
    size_t examples, choices;
  } sets[] = {{"codah-train", 1665, 4}, {"codah-test", 555, 4}, {"commonsenseqa-dev", 1221, 5}};
  for (const auto& set : sets) {
    const auto path = testing::find_data(set.set);
    if (!path) {
      RecordProperty(set.set, "absent");
      continue;
    }
    const ChoiceData data = read_choices(*path);
    EXPECT_EQ(data.examples.size(), set.examples) << set.set;
    EXPECT_EQ(data.most_choices(), set.choices) << set.set;
    EXPECT_TRUE(data.uniform()) << set.set;
  }
}

}  // namespace
}  // namespace qdqbert::tasks
