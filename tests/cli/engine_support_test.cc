// What the verbs of the engine are made of, without an engine.
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/pipeline/entities.h"
#include "qdqbert/pipeline/span_model.h"

#include "cli/answer_text.h"
#include "cli/bench_load.h"
#include "cli/json_requests.h"
#include "cli/latency.h"
#include "cli/table.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string entities_text(const std::vector<size_t>& labels, const std::vector<std::string>& names) {
  std::vector<pipeline::LabelledWord> words;
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto at = static_cast<uint32_t>(10 * i);
    words.push_back({at, at + 5, labels[i], 0.5 + 0.125 * static_cast<double>(i % 2)});
  }
  std::string text;
  for (const pipeline::Entity& entity : pipeline::find_entities(words, tasks::EntityDecoder(names)))
    text += fmt::format("{}[{},{}]{} ", entity.type, entity.begin, entity.end, entity.score);
  return text;
}

TEST(EntitiesTest, RunsOfOneTypeBeginAtBOrAtAnotherType) {
  const std::vector<std::string> names = {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"};
  EXPECT_EQ(entities_text({0, 1, 2, 0, 3}, names), "PER[10,25]0.5625 LOC[40,45]0.5 ");
  EXPECT_EQ(entities_text({1, 1, 2}, names), "PER[0,5]0.5 PER[10,25]0.5625 ");
  EXPECT_EQ(entities_text({2, 4, 4}, names), "PER[0,5]0.5 LOC[10,25]0.5625 ");
  EXPECT_EQ(entities_text({2, 0, 2}, names), "PER[0,5]0.5 PER[20,25]0.5 ");
  EXPECT_EQ(entities_text({0, 0}, names), "");
  EXPECT_EQ(entities_text({1, 1, 0, 2}, {"O", "NOUN", "VERB"}), "NOUN[0,15]0.5625 VERB[30,35]0.625 ");
}

TEST(LatencyTest, PercentilesBetweenValues) {
  std::vector<double> values(101);
  std::iota(values.begin(), values.end(), 0.0);
  std::reverse(values.begin(), values.end());
  const Latency latency = latency_of(values);
  EXPECT_EQ(latency.min, 0);
  EXPECT_EQ(latency.mean, 50);
  EXPECT_EQ(latency.median, 50);
  EXPECT_DOUBLE_EQ(latency.p90, 90);
  EXPECT_DOUBLE_EQ(latency.p95, 95);
  EXPECT_DOUBLE_EQ(latency.p99, 99);
  EXPECT_EQ(latency_of({1, 2}).median, 1.5);
  EXPECT_EQ(latency_of({3}).p99, 3);
  EXPECT_EQ(to_json(latency_of({3})).size(), 6U);
}

TEST(TableTest, Columns) {
  EXPECT_EQ(table({{"n", "name"}, {"10", "a"}, {"9", "long name"}}, "rl"),
            " n  name\n-------------\n10  a\n 9  long name\n");
}

TEST(BatchesTest, PackedBatchesKeepTheOrder) {
  const std::vector<size_t> lengths = {5, 3, 4, 20, 1, 1};
  EXPECT_THAT(pipeline::batches_by_tokens(lengths, 8, false),
              ElementsAre(ElementsAre(0, 1), ElementsAre(2), ElementsAre(3), ElementsAre(4, 5)));
  EXPECT_TRUE(pipeline::batches_by_tokens({}, 8, false).empty());
}

TEST(BatchesTest, PaddedBatchesCountPadding) {
  const std::vector<size_t> lengths = {5, 3, 4, 20, 1, 1};
  EXPECT_THAT(pipeline::batches_by_tokens(lengths, 8, true),
              ElementsAre(ElementsAre(3), ElementsAre(0), ElementsAre(2, 1), ElementsAre(4, 5)));
  const std::vector<size_t> equal(10, 4);
  for (const auto& batch : pipeline::batches_by_tokens(equal, 12, true)) EXPECT_LE(batch.size() * 4, 12U);
  EXPECT_EQ(pipeline::batches_by_tokens(equal, 12, true).size(), 4U);
}

TEST(LengthsTest, MixedHasTheShapeOfSquad) {
  const std::vector<size_t> lengths = mixed_lengths(384);
  EXPECT_EQ(lengths.size(), 32U);
  EXPECT_EQ(*std::max_element(lengths.begin(), lengths.end()), 384U);
  const double mean = std::accumulate(lengths.begin(), lengths.end(), 0.0) / 32;
  EXPECT_NEAR(mean, 175.96, 1);  // of all 10,784 features
  for (const size_t length : mixed_lengths(1)) EXPECT_EQ(length, 1U);
}

TEST(LengthsTest, Files) {
  const ScratchDirectory scratch;
  const auto file = scratch / "lengths";
  write_file(file, "3\r\n\n12\n7");
  EXPECT_THAT(read_lengths(file, 12), ElementsAre(3, 12, 7));
  const auto error_of = [&](const char* content) -> std::string {
    write_file(file, content);
    try {
      read_lengths(file, 12);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(error_of("3\n13\n"), HasSubstr("line 2 is 13, lengths from 1 to --seq 12"));
  EXPECT_THAT(error_of("0\n"), HasSubstr("line 1 is 0"));
  EXPECT_THAT(error_of("3\n4 5\n"), HasSubstr("line 2 is no length: \"4 5\""));
  EXPECT_THAT(error_of("99999999999999999999\n"), HasSubstr("is no length"));
  EXPECT_THAT(error_of("\n"), HasSubstr("holds no lengths"));
}

class LinesTest : public ::testing::Test {
 protected:
  LinesTest() { EXPECT_EQ(::pipe(ends_), 0); }
  ~LinesTest() override {
    ::close(ends_[0]);
    finish();
  }
  void send(const std::string& text) const {
    ASSERT_EQ(::write(ends_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void finish() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }
  int ends_[2] = {-1, -1};
};

TEST_F(LinesTest, WhatHasArrivedIsHandedOutAtOnce) {
  LineReader reader(ends_[0]);
  LineReader::Line line;
  EXPECT_EQ(reader.next(line, 0), LineReader::Result::kNothingYet);
  send("one\ntwo\r\nthr");
  EXPECT_EQ(reader.next(line, 0), LineReader::Result::kLine);
  EXPECT_EQ(line.text, "one");
  EXPECT_EQ(reader.next(line, 0), LineReader::Result::kLine);
  EXPECT_EQ(line.text, "two");
  EXPECT_EQ(reader.next(line, 0), LineReader::Result::kNothingYet);
  send("ee");
  finish();
  EXPECT_EQ(reader.next(line, 0), LineReader::Result::kLine);
  EXPECT_EQ(line.text, "three");
  EXPECT_EQ(line.number, 3);
  EXPECT_EQ(reader.next(line, 0), LineReader::Result::kEnd);
  EXPECT_EQ(reader.next(line, 0), LineReader::Result::kEnd);
}

TEST_F(LinesTest, LongLinesAreCutAndTheNextIsWhole) {
  LineReader reader(ends_[0], 10);
  LineReader::Line line;
  send("0123456789\n0123456789a\n" + std::string(50000, 'x'));
  for (const bool too_long : {false, true}) {
    ASSERT_EQ(reader.next(line, 0), LineReader::Result::kLine);
    EXPECT_EQ(line.text, "0123456789");
    EXPECT_EQ(line.too_long, too_long);
  }
  EXPECT_EQ(reader.next(line, 0), LineReader::Result::kNothingYet);
  send("yy\nnext\n\nlast");
  finish();
  ASSERT_EQ(reader.next(line, 0), LineReader::Result::kLine);
  EXPECT_TRUE(line.too_long);
  EXPECT_EQ(line.text, std::string(10, 'x'));
  for (const char* text : {"next", "", "last"}) {
    ASSERT_EQ(reader.next(line, 0), LineReader::Result::kLine);
    EXPECT_EQ(line.text, text);
    EXPECT_FALSE(line.too_long);
  }
  EXPECT_EQ(reader.next(line, 0), LineReader::Result::kEnd);
}

TEST(RequestsTest, Questions) {
  Json id;
  const QuestionRequest request = parse_question(
      {"{\"context\": \"caf\\u00e9\", \"question\": \"q\", \"id\": 12, \"other\": [1]}", 3, false}, 1000, id);
  EXPECT_EQ(request.id, 12);
  EXPECT_EQ(request.question, "q");
  EXPECT_EQ(request.context, "café");
  EXPECT_EQ(parse_question({"{\"context\": \"\", \"question\": \"\"}", 3, false}, 1000, id).id, 3);
}

TEST(RequestsTest, EveryMistakeHasASentenceAndTheIdThatCouldBeRead) {
  const auto error_of = [](const std::string& text, const Json& expected_id,
                           bool raw = false) -> std::string {
    Json id;
    std::string sentence = "no error";
    try {
      if (raw) parse_ids({text, 5, text.empty()}, 100, id);
      if (!raw) parse_question({text, 5, text.empty()}, 100, id);
    } catch (const InputError& error) {
      sentence = error.what();
    }
    EXPECT_EQ(id, expected_id) << text;
    return sentence;
  };
  EXPECT_THAT(error_of("", 5), HasSubstr("longer than 100 bytes"));
  EXPECT_THAT(error_of("{\"id\": \xff}", 5), HasSubstr("not valid UTF-8 at byte 8"));
  EXPECT_THAT(error_of("{\"id\": 1", 5), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of("[]", 5), HasSubstr("an object is needed, this is a JSON array"));
  EXPECT_THAT(error_of("{\"id\": [1]}", 5), HasSubstr("\"id\" has to be a text or an integer"));
  EXPECT_THAT(error_of("{\"id\": \"a\"}", "a"), HasSubstr("\"question\" is missing"));
  EXPECT_THAT(error_of("{\"id\": \"a\", \"question\": null, \"context\": \"\"}", "a"),
              HasSubstr("it is a JSON null"));
  EXPECT_THAT(error_of("{\"question\": \"\", \"context\": 1}", 5), HasSubstr("\"context\" has to be a text"));
  EXPECT_THAT(error_of("{\"input_ids\": 1}", 5, true), HasSubstr("list of integers"));
  EXPECT_THAT(error_of("{\"input_ids\": [1.5]}", 5, true), HasSubstr("holds 1.5"));
  EXPECT_THAT(error_of("{\"input_ids\": [1, 18446744073709551615]}", 5, true), HasSubstr("no token id"));
  EXPECT_THAT(error_of("{\"input_ids\": [9999999999]}", 5, true), HasSubstr("no token id"));
  EXPECT_THAT(error_of("{\"input_ids\": []}", 5, true), HasSubstr("is empty"));
  EXPECT_THAT(error_of("{\"input_ids\": [1], \"token_type_ids\": [1, 2]}", 5, true),
              HasSubstr("has 2 numbers"));
}

TEST(AnswerTextTest, OneAnswerOrAList) {
  pipeline::Answer answer;
  answer.best = {"b", 0.75, {3, 4, 5, 6}};
  answer.candidates = {answer.best, {"", 0.25, {}}};
  EXPECT_EQ(answer_json(answer, 1), (Json{{"answer", "b"}, {"score", 0.75}, {"start", 3}, {"end", 4}}));
  EXPECT_EQ(answer_json(answer, 5).at("n_best").size(), 2U);
  answer.null_odds = 1.5;
  EXPECT_EQ(answer_json(answer, 1).at("null_odds"), 1.5);
}

}  // namespace
}  // namespace qdqbert::cli
