// Entities of hand-checked sentences in every form in which tags are written.
#include "qdqbert/tasks/entity_decoder.h"

#include <algorithm>
#include <cmath>

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
using Words = std::vector<std::string>;

/// "TYPE[begin,end)score ..."; word w has the score 1 / 2^w, so that a mean tells its words.
std::string entities_of(const Words& set, const Words& sentence) {
  const EntityDecoder decoder(set);
  std::vector<size_t> tags;
  std::vector<double> scores;
  for (const std::string& tag : sentence) {
    const auto found = std::find(set.begin(), set.end(), tag);
    tags.push_back(found == set.end() ? EntityDecoder::kNoTag : static_cast<size_t>(found - set.begin()));
    scores.push_back(std::ldexp(1.0, -static_cast<int>(scores.size())));
  }
  std::string text;
  for (const TaggedEntity& entity : decoder.decode(tags, scores))
    text += fmt::format("{}{}[{},{}){}", text.empty() ? "" : " ", entity.type, entity.begin, entity.end,
                        entity.score);
  return text;
}

struct Case {
  const char* what;
  Words set, sentence;
  const char* entities;
};

const Case kCases[] = {
    {"IO: types alone",
     {"O", "PER", "LOC", "ORG", "EVENT"},
     {"PER", "PER", "O", "ORG", "EVENT", "O", "LOC"},
     "PER[0,2)0.75 ORG[3,4)0.125 EVENT[4,5)0.0625 LOC[6,7)0.015625"},
    {"IO without O: every word is of a type",
     {"NOUN", "VERB"},
     {"NOUN", "VERB", "VERB"},
     "NOUN[0,1)1 VERB[1,3)0.375"},
    {"IO with I-", {"O", "I-PER", "I-LOC"}, {"I-PER", "I-PER", "I-LOC", "O"}, "PER[0,2)0.75 LOC[2,3)0.25"},
    {"IOB1: B- between neighbours of one type",
     {"O", "B-PER", "I-PER", "I-LOC"},
     {"I-PER", "I-PER", "B-PER", "I-LOC", "O", "I-PER"},
     "PER[0,2)0.75 PER[2,3)0.25 LOC[3,4)0.125 PER[5,6)0.03125"},
    {"IOB2",
     {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"},
     {"B-PER", "I-PER", "B-PER", "O", "B-LOC", "I-PER"},
     "PER[0,2)0.75 PER[2,3)0.25 LOC[4,5)0.0625 PER[5,6)0.03125"},
    {"a type with a dash", {"O", "B-x-y", "I-x-y"}, {"B-x-y", "I-x-y"}, "x-y[0,2)0.75"},
    {"BIOES",
     {"O", "B-PER", "I-PER", "E-PER", "S-PER", "S-LOC"},
     {"B-PER", "I-PER", "E-PER", "S-PER", "S-LOC", "S-LOC"},
     "PER[0,3)0.5833333333333334 PER[3,4)0.125 LOC[4,5)0.0625 LOC[5,6)0.03125"},
    {"BIOES without I",
     {"O", "B-PER", "E-PER", "S-LOC"},
     {"B-PER", "E-PER", "O", "S-LOC"},
     "PER[0,2)0.75 LOC[3,4)0.125"},
    {"BIOES: an end closes, an end alone is an entity",
     {"O", "B-PER", "I-PER", "E-PER"},
     {"B-PER", "E-PER", "I-PER", "E-PER", "O", "E-PER"},
     "PER[0,2)0.75 PER[2,4)0.1875 PER[5,6)0.03125"},
    {"BILOU",
     {"O", "B-PER", "I-PER", "L-PER", "U-PER", "U-LOC"},
     {"B-PER", "I-PER", "L-PER", "U-PER", "U-PER", "U-LOC"},
     "PER[0,3)0.5833333333333334 PER[3,4)0.125 PER[4,5)0.0625 LOC[5,6)0.03125"},
    {"BMES",
     {"O", "B-PER", "M-PER", "E-PER", "S-LOC"},
     {"B-PER", "M-PER", "E-PER", "S-LOC"},
     "PER[0,3)0.5833333333333334 LOC[3,4)0.125"},
    {"behind the type",
     {"O", "PER-B", "PER-I", "LOC-B"},
     {"PER-B", "PER-I", "PER-B", "LOC-B"},
     "PER[0,2)0.75 PER[2,3)0.25 LOC[3,4)0.125"},
    {"behind the type, with ends",
     {"O", "PER-B", "PER-I", "PER-E", "LOC-S"},
     {"PER-B", "PER-E", "PER-I", "LOC-S", "LOC-S"},
     "PER[0,2)0.75 PER[2,3)0.25 LOC[3,4)0.125 LOC[4,5)0.0625"},
    {"underscore before", {"O", "B_PER", "I_PER"}, {"B_PER", "I_PER", "B_PER"}, "PER[0,2)0.75 PER[2,3)0.25"},
    {"underscore behind", {"O", "PER_B", "PER_I"}, {"PER_B", "PER_I", "PER_B"}, "PER[0,2)0.75 PER[2,3)0.25"},
    {"a dash inside the type behind which the position stands",
     {"O", "MY-PER-B", "MY-PER-I"},
     {"MY-PER-B", "MY-PER-I"},
     "MY-PER[0,2)0.75"},
    {"positions alone", {"O", "B", "I"}, {"B", "I", "B", "O", "I"}, "_[0,2)0.75 _[2,3)0.25 _[4,5)0.0625"},
    {"other tags among positions",
     {"X", "[CLS]", "O", "B-PER", "I-PER"},
     {"B-PER", "X", "B-PER", "I-PER", "O", "I-PER"},
     "PER[0,1)1 X[1,2)0.5 PER[2,4)0.1875 PER[5,6)0.03125"},
    {"names that only look like positions",
     {"O", "E-MAIL", "PHONE", "U-BOAT"},
     {"E-MAIL", "E-MAIL", "PHONE", "U-BOAT"},
     "E-MAIL[0,2)0.75 PHONE[2,3)0.25 U-BOAT[3,4)0.125"},
    {"E-MAIL among B- and I-",
     {"O", "B-PER", "I-PER", "E-MAIL", "PHONE"},
     {"E-MAIL", "E-MAIL", "B-PER"},
     "E-MAIL[0,2)0.75 PER[2,3)0.25"},
    {"a set that proves its ends among other tags",
     {"O", "X", "B-PER", "E-PER", "S-LOC"},
     {"B-PER", "E-PER", "S-LOC", "S-LOC", "X"},
     "PER[0,2)0.75 LOC[2,3)0.25 LOC[3,4)0.125 X[4,5)0.0625"},
    {"numbers without names", {"0", "1", "2"}, {"1", "2", "0"}, ""},
    {"words without a tag part entities", {"O", "PER"}, {"PER", "?", "PER"}, "PER[0,1)1 PER[2,3)0.25"},
    {"no words", {"O", "PER"}, {}, ""},
};

TEST(EntityDecoder, EveryForm) {
  for (const Case& c : kCases) EXPECT_EQ(entities_of(c.set, c.sentence), c.entities) << c.what;
}

TEST(EntityDecoder, SaysWhatHasNoNames) {
  EXPECT_TRUE(EntityDecoder({"0", "1"}).unnamed());
  EXPECT_FALSE(EntityDecoder({"0", "B-1"}).unnamed());
  EXPECT_FALSE(EntityDecoder({}).unnamed());
}

TEST(EntityDecoder, TagsThatTheScoreTakesForPositions) {
  EXPECT_THAT(tags_without_position({{"B-PER", "I-PER", "E-PER", "S-PER", "O", "B"}}), ElementsAre());
  EXPECT_THAT(tags_without_position({{"PER", "O"}, {"L-PER", "PER", "B_PER"}}),
              ElementsAre("B_PER", "L-PER", "PER"));
}

TEST(EntityDecoder, NumbersOfTheDataTakeTheNamesOfTheLabels) {
  const LabelMap names({"O", "B-PER", "I-PER"});
  TagData data = parse_conll("ab\t1\nc\t2\nd\t0\n", "a.conll");
  const TagPrediction prediction{{"B-PER", "I-PER", "O"}, {1, 1, 1}, {1, 0.5, 1}};
  EXPECT_EQ(tag_metrics(data, names, {prediction})["f1"], 1.0) << "numbers of a file are those of the model";
  EXPECT_THAT(doubtful_tags(data, names, {prediction}), ElementsAre());
  data.name_numbers(names);
  EXPECT_THAT(data.examples[0].tags, ElementsAre("B-PER", "I-PER", "O"));
  data.examples[0].tags[0] = "7";
  EXPECT_THROW(data.name_numbers(names), InputError);
}

TEST(EntityDecoder, FilesHoldWholeTypesAndNoWordThatWasCut) {
  const LabelMap flat({"EVENT", "O", "PER"});
  const TagData data = parse_conll("ab\tPER\nc\tO\nd\tEVENT\ne\tEVENT\n", "a.conll");
  const TagPrediction prediction{{"PER", "O", "EVENT", "EVENT"}, {1, 1, 1, 0}, {0.5, 1, 0.25, 0}};
  const ScratchDirectory directory;
  write_tag_predictions(directory.path(), "predict", data, flat, {prediction});
  const Json entities = testing::read_json_lines(directory / "predict_entities.jsonl").at(0)["entities"];
  ASSERT_EQ(entities.size(), 2u);
  EXPECT_EQ(entities[0]["type"], "PER");
  EXPECT_EQ(entities[1]["type"], "EVENT");
  EXPECT_EQ(entities[1]["words"], Json::array({2, 3}));
  EXPECT_EQ(entities[1]["score"], 0.25);
}

}  // namespace
}  // namespace qdqbert::tasks
