// Rows whose label is hidden or was never given.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/tasks/classify_dataset.h"
#include "qdqbert/tasks/tag_features.h"

#include "tests/tasks/letters_tokenizer.h"

namespace qdqbert::tasks {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

RecordFile csv(const std::string& text) {
  return parse_records(text, RecordFormat::kCsv, "data.csv");
}
RecordFile lines(const std::string& text) {
  return parse_records(text, RecordFormat::kJsonLines, "data.jsonl");
}

/// What is logged while it lives.
class LogLines {
 public:
  LogLines() : before_(set_log_sink([this](LogLevel, std::string_view line) { text += line; })) {}
  ~LogLines() { set_log_sink(before_); }
  std::string text;

 private:
  LogSink before_;
};

const char* const kMarks =
    "{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"b\",\"label\":-1}\n{\"text\":\"c\",\"label\":\"\"}\n"
    "{\"text\":\"d\",\"label\":null}\n{\"text\":\"e\",\"label\":\"?\"}\n{\"text\":\"f\",\"label\":\"-\"}\n"
    "{\"text\":\"g\"}\n{\"text\":\"h\",\"label\":-1.0}\n{\"text\":\"i\",\"label\":\"y\"}\n";

TEST(NoLabel, RowsAreLeftOutWhereLabelsAreNeeded) {
  LogLines log;
  const ClassifyData data = parse_classify(lines(kMarks));
  EXPECT_THAT(data.first_texts(), ElementsAre("a", "i"));
  EXPECT_THAT(data.labels(), ElementsAre("x", "y"));
  EXPECT_EQ(data.unlabelled, 7u);
  EXPECT_THAT(log.text, HasSubstr("7 of 9 rows"));
  EXPECT_THAT(log.text, HasSubstr("\"?\""));
}

TEST(NoLabel, RowsAreKeptWhereTheyAreNot) {
  const ClassifyData data = parse_classify(lines(kMarks), {.labels_required = false});
  EXPECT_EQ(data.examples.size(), 9u);
  EXPECT_EQ(data.unlabelled, 7u);
  EXPECT_FALSE(data.labelled);
  const ClassifyData odd =
      parse_classify(lines("{\"text\":\"a\",\"label\":{}}\n{\"text\":\"b\",\"label\":\"x\"}"),
                     {.labels_required = false, .kind = ClassifyKind::kSingleLabel});
  EXPECT_EQ(odd.examples.size(), 2u) << "whatever stands there";
  EXPECT_FALSE(odd.labelled);
  EXPECT_TRUE(parse_classify(csv("text,label\na,x\n"), {.labels_required = false}).labelled);
}

TEST(NoLabel, MarksMayBeLabels) {
  const RecordFile polarity = csv("text,label\na,-1\nb,0\nc,1\n");
  EXPECT_THAT(parse_classify(polarity).labels(), ElementsAre("0", "1"));
  EXPECT_THAT(parse_classify(polarity, {.no_label = {}}).labels(), ElementsAre("-1", "0", "1"));
}

TEST(NoLabel, NumbersThatArePredictedAreNoMarks) {
  const ClassifyData data = parse_classify(csv("text,label\na,-1\nb,0.5\nc,\n"));
  EXPECT_EQ(data.kind, ClassifyKind::kRegression);
  ASSERT_EQ(data.examples.size(), 2u);
  EXPECT_EQ(data.examples[0].value, -1);
  ClassifyColumns columns{.labels_required = false, .kind = ClassifyKind::kRegression};
  EXPECT_TRUE(parse_classify(csv("text,label\na,-1\nb,0.5\n"), columns).labelled);
  EXPECT_FALSE(parse_classify(csv("text,label\na,-1\nb,-1\n"), columns).labelled) << "a hidden test set";
}

TEST(NoLabel, AnEmptyFieldIsAnEmptySetOfSeveral) {
  const ClassifyData data = parse_classify(csv("text,label\na,x|y\nb,\n"), {.label_separator = "|"});
  EXPECT_EQ(data.examples.size(), 2u);
  EXPECT_EQ(data.unlabelled, 0u);
}

TEST(NoLabel, WordsWithoutATagAreNeitherTrainedOnNorScored) {
  LogLines log;
  const TagData data =
      parse_tag_records(lines("{\"tokens\":[\"a\",\"b\",\"c\"],\"ner_tags\":[\"O\",-100,\"B-X\"]}\n"
                              "{\"tokens\":[\"d\"],\"ner_tags\":null}\n{\"tokens\":[\"e\"]}\n"));
  ASSERT_EQ(data.examples.size(), 1u);
  EXPECT_THAT(log.text, HasSubstr("2 sentences have no tags"));
  EXPECT_THAT(log.text, HasSubstr("1 of 3 words"));
  EXPECT_THAT(data.tags(), ElementsAre("B-X", "O"));
  const LabelMap labels({"O", "B-X"});
  const TagFeatures features =
      TagFeatures::build(data, labels, letters_tokenizer(), {.label_all_tokens = true});
  EXPECT_THAT(features.labels[0], ElementsAre(-100, 0, -100, 1, -100));
  const TagPrediction prediction{{"O", "B-X", "B-X"}, {1, 1, 1}, {1, 1, 1}};
  EXPECT_EQ(tag_metrics(data, labels, {prediction})["accuracy"], 1.0);
  EXPECT_EQ(parse_conll("a O\nb -100\n", "f").examples[0].tags[1], "");
}

TEST(NoLabel, SentencesAreKeptWhereTagsAreNotNeeded) {
  const TagData data = parse_tag_records(lines("{\"tokens\":[\"a\"],\"ner_tags\":[\"O\"]}\n"
                                               "{\"tokens\":[\"b\"],\"ner_tags\":[]}\n"
                                               "{\"tokens\":[\"c\"],\"ner_tags\":\"hidden\"}\n"),
                                         {.labels_required = false});
  EXPECT_EQ(data.examples.size(), 3u);
  EXPECT_FALSE(data.labelled);
  EXPECT_EQ(data.untagged, 2u);
}

}  // namespace
}  // namespace qdqbert::tasks
