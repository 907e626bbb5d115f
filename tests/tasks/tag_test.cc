#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/tasks/tag_features.h"

#include "tests/support/golden.h"
#include "tests/support/scratch_directory.h"
#include "tests/tasks/letters_tokenizer.h"

namespace qdqbert::tasks {
namespace {

using ::testing::ElementsAre;

const LabelMap& labels() {
  static const LabelMap map({"B-LOC", "B-PER", "I-PER", "O"});
  return map;
}

TEST(TagDataset, ColumnsAndRecordsAgree) {
  for (const TagData& data : {parse_conll("-DOCSTART- O\n\nab B-PER\nc O\n\n\nthe O\n", "a.conll"),
                              parse_conll("ab\tB-PER\r\nc\tO\r\n\r\nthe\tO", "a.conll"),
                              parse_conll("ab NN x B-PER\nc NN x  O\n\nthe NN x O\n", "a.conll"),
                              parse_tag_records(parse_records(
                                  "{\"id\":\"0\",\"tokens\":[\"ab\",\"c\"],\"ner_tags\":[\"B-PER\",\"O\"]}\n"
                                  "{\"id\":\"1\",\"tokens\":[\"the\"],\"ner_tags\":[\"O\"]}",
                                  RecordFormat::kJsonLines, "a.jsonl"))}) {
    ASSERT_EQ(data.examples.size(), 2u);
    EXPECT_TRUE(data.labelled);
    EXPECT_THAT(data.examples[0].words, ElementsAre("ab", "c"));
    EXPECT_THAT(data.examples[0].tags, ElementsAre("B-PER", "O"));
    EXPECT_THAT(data.examples[1].tags, ElementsAre("O"));
    EXPECT_THAT(data.tags(), ElementsAre("B-PER", "O"));
  }
  const TagData words = parse_conll("ab\nc\n", "a.conll", {.labels_required = false});
  EXPECT_FALSE(words.labelled);
  EXPECT_THAT(words.examples[0].words, ElementsAre("ab", "c"));
}

TEST(TagDataset, ATabSeparatesWordsWithSpaces) {
  const TagData data = parse_conll("New York\tB-LOC\n", "a.conll");
  EXPECT_THAT(data.examples[0].words, ElementsAre("New York"));
}

TEST(TagFeatures, LabelsStandAtFirstPieces) {
  const TagData data = parse_conll("abc\tB-PER\nd\tI-PER\nthe\tO\nxy\tB-LOC\n", "a.conll");
  const text::Tokenizer tokenizer = letters_tokenizer();
  // [CLS] a ##b ##c d the x ##y [SEP]
  TagFeatures features = TagFeatures::build(data, labels(), tokenizer, {});
  EXPECT_THAT(features.word_ids[0], ElementsAre(-1, 0, 0, 0, 1, 2, 3, 3, -1));
  EXPECT_THAT(features.labels[0], ElementsAre(-100, 1, -100, -100, 2, 3, 0, -100, -100));
  EXPECT_EQ(features.rows.length(0), 9u);
  EXPECT_EQ(features.cut_words, 0u);
  features = TagFeatures::build(data, labels(), tokenizer, {.label_all_tokens = true});
  EXPECT_THAT(features.labels[0], ElementsAre(-100, 1, 2, 2, 2, 3, 0, 0, -100)) << "there is no I-LOC";
  features = TagFeatures::build(data, labels(), tokenizer, {.max_length = 6});
  EXPECT_THAT(features.word_ids[0], ElementsAre(-1, 0, 0, 0, 1, -1));
  EXPECT_EQ(features.cut_words, 2u);
}

TEST(TagFeatures, ASentenceWithoutWordsIsARow) {
  TagData data = parse_tag_records(
      parse_records("{\"tokens\":[\"a\"],\"ner_tags\":[\"O\"]}\n{\"tokens\":[],\"ner_tags\":[]}",
                    RecordFormat::kJsonLines, "a.jsonl"));
  const TagFeatures features = TagFeatures::build(data, labels(), letters_tokenizer(), {});
  ASSERT_EQ(features.rows.size(), 2u);
  EXPECT_THAT(features.labels[1], ElementsAre(-100, -100));
  const std::vector<float> logits(3 * 4, 0), none(2 * 4, 0);
  const std::vector<TagPrediction> predictions = {predict_tags(features, 0, 1, logits, labels()),
                                                  predict_tags(features, 1, 0, none, labels())};
  const ScratchDirectory directory;
  write_tag_predictions(directory.path(), "predict", data, labels(), predictions);
  EXPECT_EQ(read_file(directory / "predict_predictions.txt"), "B-LOC\n\n");
  EXPECT_EQ(testing::read_json_lines(directory / "predict_entities.jsonl").at(1)["words"], Json::array());
  EXPECT_EQ(tag_metrics(data, labels(), predictions)["accuracy"], 0.0);
  EXPECT_EQ(data.drop_untagged(), 1u);
  EXPECT_EQ(data.examples.size(), 1u);
}

TEST(TagFeatures, LogitsBecomeTagsOfWords) {
  const TagData data = parse_conll("ab\tB-PER\n\xef\xbf\xbd\tO\nd\tB-LOC\n", "a.conll");
  const TagFeatures features = TagFeatures::build(data, labels(), letters_tokenizer(), {});
  // [CLS] a ##b d [SEP]; the second word has no piece.
  ASSERT_EQ(features.rows.length(0), 5u);
  std::vector<float> logits(5 * 4, 0);
  logits[1 * 4 + 1] = 2;  // a: B-PER
  logits[2 * 4 + 0] = 9;  // ##b does not count
  logits[3 * 4 + 3] = 1;  // d: O
  const TagPrediction prediction = predict_tags(features, 0, 3, logits, labels());
  EXPECT_THAT(prediction.tags, ElementsAre("B-PER", "O", "O"));
  EXPECT_THAT(prediction.covered, ElementsAre(1, 0, 1));
  EXPECT_NEAR(prediction.probabilities[0], std::exp(2) / (std::exp(2) + 3), 1e-12);
  const Json metrics = tag_metrics(data, labels(), {prediction}, true);
  EXPECT_EQ(metrics["precision"], 1.0);
  EXPECT_EQ(metrics["recall"], 0.5);
  EXPECT_EQ(metrics["accuracy"], 0.5) << "the word without piece is not counted";
  EXPECT_EQ(metrics["LOC"]["number"], 1);
}

TEST(TagFeatures, FilesNameEntitiesWithTheirPlace) {
  const TagData data = parse_conll("J\xc3\xb6rg\tB-PER\nS\tI-PER\nsaw\tO\nRom\tB-LOC\n", "a.conll");
  const TagPrediction prediction{data.examples[0].tags, {1, 1, 1, 1}, {0.5, 1, 1, 0.25}};
  const ScratchDirectory directory;
  write_tag_predictions(directory.path(), "predict", data, labels(), {prediction});
  EXPECT_EQ(read_file(directory / "predict_predictions.txt"), "B-PER I-PER O B-LOC\n");
  const Json entities = testing::read_json_lines(directory / "predict_entities.jsonl").at(0)["entities"];
  ASSERT_EQ(entities.size(), 2u);
  EXPECT_EQ(entities[0]["text"], "J\xc3\xb6rg S");
  EXPECT_EQ(entities[0]["start"], 0);
  EXPECT_EQ(entities[0]["end"], 6) << "code points";
  EXPECT_EQ(entities[0]["score"], 0.75);
  EXPECT_EQ(entities[1]["words"], Json::array({3, 4}));
  EXPECT_EQ(entities[1]["start"], 11);
  EXPECT_EQ(entities[1]["end"], 14);
}

TEST(TagDataset, PublicSetsHaveTheSizesThatTheyState) {
  const struct {
    const char* set;
    size_t sentences, tags;
  } sets[] = {{"wnut17-train", 3394, 13}, {"wnut17-test", 1287, 13}, {"wikigold", 1696, 5}};
  for (const auto& set : sets) {
    const auto path = testing::find_data(set.set);
    if (!path) {
      RecordProperty(set.set, "absent");
      continue;
    }
    const TagData data = read_tags(*path);
    EXPECT_EQ(data.examples.size(), set.sentences) << set.set;
    EXPECT_EQ(data.tags().size(), set.tags) << set.set;
  }
}

}  // namespace
}  // namespace qdqbert::tasks
