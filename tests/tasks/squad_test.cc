// One small set in every format that is read, and what features promise beyond the golden cases.
#include <filesystem>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/gzip.h"
#include "qdqbert/base/log.h"
#include "qdqbert/tasks/csv.h"
#include "qdqbert/tasks/squad_dataset.h"
#include "qdqbert/tasks/squad_evaluation.h"
#include "qdqbert/tasks/squad_features.h"

namespace qdqbert::tasks {
namespace {

const char* kNested =
    R"({"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": "Zürich, \"the\" city\n😀 end",
  "qas": [{"id": "1", "question": "Where, then?", "answers": [{"text": "Zürich", "answer_start": 0},
                                                              {"text": "😀", "answer_start": 19}]},
          {"id": "2", "question": "No?", "is_impossible": true, "answers": [],
           "plausible_answers": [{"text": "x", "answer_start": 0}]}]}]}]})";

const char* kFlat = R"({"data": [
  {"id": "1", "title": "T", "context": "Zürich, \"the\" city\n😀 end", "question": "Where, then?",
   "answers": {"text": ["Zürich", "😀"], "answer_start": [0, 19]}},
  {"id": "2", "title": "T", "context": "Zürich, \"the\" city\n😀 end", "question": "No?",
   "answers": {"text": [], "answer_start": []}}]})";

const char* kLines =
    R"({"id": "1", "title": "T", "context": "Zürich, \"the\" city\n😀 end", "question": "Where, then?", "answers": {"text": ["Zürich", "😀"], "answer_start": [0, 19]}})"
    "\n\n"
    R"({"id": "2", "title": "T", "context": "Zürich, \"the\" city\n\ud83d\ude00 end", "question": "No?", "answers": {"text": [], "answer_start": []}})";

const char* kCsv =
    "\xef\xbb\xbfquestion,id,answers,context,title\r\n"
    "\"Where, then?\",1,\"{\"\"text\"\": [\"\"Zürich\"\", \"\"😀\"\"], \"\"answer_start\"\": [0, 19]}\","
    "\"Zürich, \"\"the\"\" city\n😀 end\",T\r\n"
    "No?,2,\"{\"\"text\"\": [], \"\"answer_start\"\": []}\",\"Zürich, \"\"the\"\" city\n😀 end\",T\r\n";

void expect_the_set(const std::vector<SquadExample>& examples) {
  ASSERT_EQ(examples.size(), 2u);
  EXPECT_EQ(examples[0].id, "1");
  EXPECT_EQ(*examples[0].title, "T");
  EXPECT_EQ(*examples[0].context, "Zürich, \"the\" city\n😀 end");
  EXPECT_EQ(examples[0].question, "Where, then?");
  ASSERT_EQ(examples[0].answers.size(), 2u);
  EXPECT_EQ(examples[0].answers[0].text, "Zürich");
  EXPECT_EQ(examples[0].answers[1].text, "😀");
  EXPECT_EQ(examples[0].answers[1].start, 19);
  EXPECT_EQ(examples[1].id, "2");
  EXPECT_TRUE(examples[1].answers.empty());
  EXPECT_EQ(examples[0].context, examples[1].context) << "equal contexts share one string";
}

TEST(SquadDataset, EveryFormatGivesTheSameExamples) {
  const auto directory = std::filesystem::path(::testing::TempDir()) / "qdqbert-squad-formats";
  std::filesystem::create_directories(directory);
  const std::pair<const char*, const char*> files[] = {
      {"nested.json", kNested}, {"flat.json", kFlat}, {"lines.jsonl", kLines}, {"table.csv", kCsv}};
  for (const auto& [name, content] : files) {
    SCOPED_TRACE(name);
    write_file(directory / name, content);
    expect_the_set(read_squad(directory / name));
    const auto zipped = directory / (std::string(name) + ".gz");
    write_file(zipped, gzip(content));
    expect_the_set(read_squad(zipped));
  }
  write_file(directory / "set.txt", kFlat);
  EXPECT_THROW(read_squad(directory / "set.txt"), InputError);
  std::filesystem::remove_all(directory);
}

TEST(SquadDataset, AnswersMayBeAbsentWhereTheyAreAskedFor) {
  SquadReadOptions options;
  options.require_answers = false;
  const char* lines = R"({"id": "1", "context": "c", "question": "q"})";
  EXPECT_TRUE(parse_squad_json_lines(lines, "x", options)[0].answers.empty());
  EXPECT_TRUE(parse_squad_csv("id,context,question\n1,c,q\n", "x", options)[0].answers.empty());
  EXPECT_THROW(parse_squad_json_lines(lines, "x"), InputError);
  EXPECT_THROW(parse_squad_csv("id,context,question\n1,c,q\n", "x"), InputError);
}

/// Paragraphs about "Ada wrote it.", a question each: id, and the answer as JSON.
std::string about_ada(const std::vector<std::pair<std::string, std::string>>& questions) {
  std::string text = R"({"data":[{"title":null,"paragraphs":[{"context":"Ada wrote it.","qas":[)";
  for (size_t i = 0; i < questions.size(); ++i)
    text += fmt::format(R"({}{{"id":{},"question":"Who?","answers":{}}})", i == 0 ? "" : ",",
                        questions[i].first, questions[i].second);
  return text + "]}]}]}";
}

TEST(SquadDataset, RecordsOfAnnotationTools) {
  const std::vector<SquadExample> examples =
      parse_squad_json(about_ada({{"262", R"([{"text":"Ada","answer_start":0.0,"answer_id":9}])"},
                                  {"\"x\"", R"({"text":["wrote"],"answer_start":[4]})"}}),
                       "x");
  ASSERT_EQ(examples.size(), 2u);
  EXPECT_EQ(examples[0].id, "262");
  EXPECT_EQ(*examples[0].title, "");
  EXPECT_EQ(examples[0].answers[0].start, 0);
  EXPECT_EQ(examples[1].answers[0].start, 4);
  EXPECT_THROW(parse_squad_json(about_ada({{"1", "[]"}, {"\"1\"", "[]"}}), "x"), InputError) << "one id";
}

TEST(SquadDataset, PlacesMatterForTrainingOnly) {
  const std::string file =
      about_ada({{"1", R"([{"text":"Ada","answer_start":0}])"},
                 {"2", R"([{"text":"Ada","answer_start":1}])"},
                 {"3", R"([{"text":"Ada","answer_start":500},{"text":"wrote","answer_start":4}])"},
                 {"4", R"([{"text":"Ada"}])"},
                 {"5", R"([{"text":"Ada","answer_start":"0"}])"},
                 {"6", R"({"text":["Ada"]})"},
                 {"7", "[]"}});
  EXPECT_THROW(parse_squad_json(file, "x"), InputError);
  SquadReadOptions options;
  options.offsets = OffsetCheck::kIgnore;
  EXPECT_EQ(parse_squad_json(file, "x", options).size(), 7u);
  EXPECT_EQ(parse_squad_json(file, "x", options)[5].answers[0].text, "Ada");
  options.offsets = OffsetCheck::kSkip;
  std::string said;
  const LogSink before = set_log_sink([&](LogLevel, std::string_view line) { said += line; });
  const std::vector<SquadExample> kept = parse_squad_json(file, "x", options);
  set_log_sink(before);
  ASSERT_EQ(kept.size(), 3u);
  EXPECT_EQ(kept[1].id, "3");
  ASSERT_EQ(kept[1].answers.size(), 1u);
  EXPECT_EQ(kept[1].answers[0].text, "wrote");
  EXPECT_EQ(kept[2].id, "7") << "a question without answers stays one";
  EXPECT_NE(said.find("5 answers"), std::string::npos) << said;
  EXPECT_NE(said.find("4 questions of 7"), std::string::npos) << said;
  EXPECT_NE(said.find("x, question \"2\""), std::string::npos) << said;
  EXPECT_THROW(parse_squad_json(about_ada({{"2", R"([{"text":"Ada","answer_start":1}])"}}), "x", options),
               InputError);
}

TEST(SquadDataset, QuestionsWithoutAnswersNeedTheScoresOfVersion2) {
  const auto scorable = [](const std::string& file) {
    require_scorable_v1(parse_squad_json(file, "dev.json"), "dev.json");
  };
  const std::string answer = R"([{"text":"Ada","answer_start":0}])";
  EXPECT_NO_THROW(scorable(about_ada({{"1", answer}})));
  EXPECT_NO_THROW(scorable(about_ada({{"1", "[]"}}))) << "nothing to score";
  try {
    scorable(about_ada({{"1", answer}, {"\"impossible\"", "[]"}}));
    FAIL();
  } catch (const InputError& error) {
    for (const char* word : {"dev.json", "1 of 2", "impossible", "--version_2_with_negative"})
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST(Csv, QuotesAndLines) {
  const auto records = parse_csv("a,b\n\n\"x \"\"y\"\"\nz\",\n1,2", "t");
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[1].fields, (std::vector<std::string>{"x \"y\"\nz", ""}));
  EXPECT_EQ(records[1].line, 3u);
  EXPECT_EQ(records[2].line, 5u);
  EXPECT_THROW(parse_csv("a,b\n\"x\"y,z\n", "t"), InputError);
}

text::Tokenizer letters() {
  std::vector<std::string> pieces = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (char c = 'a'; c <= 'z'; ++c) pieces.emplace_back(1, c);
  return text::Tokenizer(text::Vocabulary(std::move(pieces), "letters"), {});
}

std::vector<SquadExample> letter_examples() {
  const auto context = std::make_shared<const std::string>("a b c d e f g h i j");
  std::vector<SquadExample> examples(40);
  for (size_t i = 0; i < examples.size(); ++i) {
    examples[i].id = std::to_string(i);
    examples[i].context = i % 3 == 0 ? std::make_shared<const std::string>(*context + " k l m") : context;
    examples[i].title = context;
    examples[i].question = i % 2 == 0 ? "q r" : "q";
    examples[i].answers = {{"j", 18}};
  }
  return examples;
}

TEST(SquadFeatures, DoNotDependOnThreads) {
  FeatureOptions options;
  options.max_length = 9;
  options.stride = 1;
  const auto examples = letter_examples();
  const auto tokenizer = letters();
  const auto one = SquadFeatures::build(examples, tokenizer, options, 1),
             many = SquadFeatures::build(examples, tokenizer, options, 5);
  ASSERT_EQ(one.size(), many.size());
  for (size_t f = 0; f < one.size(); ++f) {
    EXPECT_EQ(one[f].example, many[f].example);
    EXPECT_EQ(one[f].window_begin, many[f].window_begin);
    EXPECT_EQ(one[f].start_position, many[f].start_position);
    std::vector<int64_t> a(9), b(9), mask(9), types(9);
    one.fill(f, a, mask, types);
    many.fill(f, b, mask, types);
    EXPECT_EQ(a, b);
  }
}

TEST(SquadFeatures, LabelsOfAWindowsLastTokenCanBeMended) {
  std::vector<SquadExample> examples = letter_examples();
  examples = {examples[1]};  // [CLS] q [SEP] a ... j [SEP]
  FeatureOptions options;
  options.max_length = 20;
  options.stride = 2;
  const auto tokenizer = letters();
  const auto kept = SquadFeatures::build(examples, tokenizer, options);
  EXPECT_EQ(kept[0].start_position, 19);
  EXPECT_EQ(kept[0].end_position, 12);
  options.fix_labels = true;
  const auto mended = SquadFeatures::build(examples, tokenizer, options);
  EXPECT_EQ(mended[0].start_position, 12);
  EXPECT_EQ(mended[0].end_position, 12);
}

// E17
TEST(SquadFeatures, BlanksBeforeAQuestionMakeNoTokens) {
  std::vector<SquadExample> examples = letter_examples();
  const auto plain = SquadFeatures::build(examples, letters(), {});
  for (SquadExample& example : examples) example.question.insert(0, " \t  ");
  const auto blank = SquadFeatures::build(examples, letters(), {});
  ASSERT_EQ(plain.size(), blank.size());
  for (size_t f = 0; f < plain.size(); ++f) {
    std::vector<int64_t> a(32), b(32), mask(32), types(32);
    ASSERT_LE(plain[f].length, a.size());
    ASSERT_EQ(plain[f].length, blank[f].length);
    plain.fill(f, a, mask, types);
    blank.fill(f, b, mask, types);
    EXPECT_EQ(a, b);
  }
}

TEST(SquadFeatures, Truncate) {
  FeatureOptions options;
  options.max_length = 9;
  options.stride = 1;
  auto features = SquadFeatures::build(letter_examples(), letters(), options);
  features.truncate(1000);
  const size_t all = features.size();
  EXPECT_GT(all, 40u);
  features.truncate(7);
  EXPECT_EQ(features.size(), 7u);
}

}  // namespace
}  // namespace qdqbert::tasks
