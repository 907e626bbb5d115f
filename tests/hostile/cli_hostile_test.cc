// What people, scripts and disks do to the verbs of the engine.
#include <algorithm>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/command.h"
#include "tests/e2e/engine_model.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;
using testing::CommandOptions;
using ::testing::HasSubstr;
using testing::Question;
using testing::run_command;

class EngineHostile : public ::testing::Test {
 protected:
  EngineHostile() : model_(scratch_ / "model"), squad_(scratch_ / "squad.json") {
    testing::write_engine_model(model_);
    questions_ = testing::real_questions(3);
    testing::write_squad(squad_, questions_);
  }
  /// Exit code 2 and one sentence that holds `part`.
  static void refused(const std::vector<std::string>& words, const std::string& part) {
    const auto result = run_command(words);
    EXPECT_EQ(result.code, 2) << fmt::format("{} {}: {}", words[0], words.back(), result.err);
    EXPECT_THAT(result.err, HasSubstr(part));
    EXPECT_THAT(result.err, ::testing::StartsWith("qdqbert: "));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }

  testing::ScratchDirectory scratch_;
  std::string model_, squad_;
  std::vector<Question> questions_;
};

TEST_F(EngineHostile, WrongFilesAndFlags) {
  refused({"predict"}, "MODEL is missing");
  refused({"predict", scratch_ / "none", "--question", "q", "--context", "c"}, "none");
  refused({"predict", model_, "--question", "q"}, "--context is missing");
  refused({"predict", model_, "--squad", squad_}, "--squad needs --output");
  refused({"predict", model_, "--squad", squad_, "--question", "q", "--context", "c"}, "four ways to ask");
  refused({"predict", model_, "--squad", scratch_ / "none.json", "--output", scratch_ / "p"}, "none.json");
  refused({"predict", model_, "--squad", squad_, "--output", scratch_ / "no/such/p"}, "no/such");
  refused({"predict", model_, "--question", "\xff", "--context", "c"}, "--question is not valid UTF-8");
  refused({"predict", model_, "--isa", "mmx"}, "--isa mmx is unknown");
  refused({"predict", model_, "--threads", "-1"}, "--threads is -1");
  refused({"predict", model_, "--tokens_per_batch", "0"}, "--tokens_per_batch is 0");
  refused({"predict", model_, "--doc_stride", "384"}, "--doc_stride is 384");
  refused({"evaluate-onnx", "--onnx_model_path", model_, "--output_dir", scratch_ / "o"}, "data is missing");
  refused({"evaluate-onnx", "--onnx_model_path", model_, "--output_dir", scratch_ / "o", "--dataset_name",
           "glue"},
          "glue");
  refused({"bench", model_, "--seq", "161"}, "--seq is 161, the model has 160 positions");
  refused({"bench", model_, "--lengths", scratch_ / "none"}, "none");
  refused({"inspect", squad_, "--plan"}, "squad.json");
  write_file(scratch_ / "empty.onnx", "");
  refused({"bench", scratch_ / "empty.onnx"}, "empty.onnx");
  const std::string bytes = read_file(model_ + "/model.onnx");
  write_file(scratch_ / "half.onnx", bytes.substr(0, bytes.size() / 2));
  refused({"inspect", scratch_ / "half.onnx", "--plan"}, "half.onnx");
}

TEST_F(EngineHostile, TokenizersThatDoNotFit) {
  const std::string bare = scratch_ / "bare";
  testing::write_engine_model(bare, onnx::GraphHead::kQuestionAnswering, false);
  refused({"predict", bare, "--question", "q", "--context", "c"}, "--tokenizer DIR");
  std::string larger = read_file(testing::kShippedTokenizer / "vocab.txt");
  write_file(scratch_ / "vocab.txt", larger + "onemore\n");
  refused({"predict", bare, "--tokenizer", scratch_ / "vocab.txt", "--question", "q", "--context", "c"},
          "has embeddings for");
}

// Each bad line gets its error, in its place; the good ones around it are answered as if it was not there.
TEST_F(EngineHostile, BadLinesAmongGoodOnes) {
  const std::string good = testing::request_lines({questions_[0]});
  const Json expected = [&] {
    CommandOptions options;
    options.input = good;
    return testing::json_lines(run_command({"predict", model_}, options).out)[0];
  }();
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"nonsense", "not valid JSON"},
      {"{\"id\": \"x\", \"question\": \"q\"", "not valid JSON"},
      {std::string(600, '['), "nest"},
      {"[]", "an object is needed"},
      {"null", "an object is needed"},
      {"{}", "\"question\" is missing"},
      {"{\"question\": 1, \"context\": \"c\"}", "has to be a text"},
      {"{\"id\": {}, \"question\": \"q\", \"context\": \"c\"}", "\"id\" has to be"},
      {"{\"question\": \"\xc3\", \"context\": \"c\"}", "not valid UTF-8"},
      {fmt::format("{{\"question\": \"{}\", \"context\": \"c\"}}", std::string(1000, '.')), "of line"},
      {fmt::format("{{\"question\": \"q\", \"context\": \"{}\"}}", std::string((size_t{1} << 24), 'a')),
       "longer than"},
  };
  CommandOptions options;
  for (const auto& [line, sentence] : bad) options.input += line + "\n" + good;
  for (const char* budget : {"2048", "1"}) {
    const auto result =
        run_command({"predict", model_, "--tokens_per_batch", budget, "--json", scratch_ / "j"}, options);
    EXPECT_EQ(result.code, 2);
    EXPECT_THAT(result.err, HasSubstr(fmt::format("{} of {} lines", bad.size(), 2 * bad.size())));
    EXPECT_EQ(read_json(scratch_ / "j").at("answered"), bad.size());
    const std::vector<Json> lines = testing::json_lines(result.out);
    ASSERT_EQ(lines.size(), 2 * bad.size());
    for (size_t i = 0; i < bad.size(); ++i) {
      EXPECT_EQ(lines[2 * i].at("line"), 2 * i + 1);
      EXPECT_THAT(lines[2 * i].at("error").get<std::string>(), HasSubstr(bad[i].second));
      EXPECT_EQ(lines[2 * i + 1], expected);
    }
  }
}

TEST_F(EngineHostile, StrangeButFine) {
  CommandOptions options;
  options.input =
      "\n   \n{\"question\": \"\", \"context\": \"\"}\r\n{\"question\": \"q\", \"context\": "
      "\"\\u0000\\ud83d\\ude00 [SEP] a\"}";
  const auto result = run_command({"predict", model_}, options);
  EXPECT_EQ(result.code, 0) << result.err;
  const std::vector<Json> lines = testing::json_lines(result.out);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].at("answer"), "");
  EXPECT_EQ(lines[0].at("id"), 3);
  EXPECT_EQ(lines[1].at("id"), 4);
  options.input = "";
  EXPECT_EQ(run_command({"predict", model_}, options).code, 0);
}

// What only the session can refuse: the request gets the sentence, the next ones their answers.
TEST_F(EngineHostile, RawIdsThatTheModelDoesNotKnow) {
  std::string many = "[1";
  for (int64_t i = 0; i < testing::kEnginePositions; ++i) many += ", 1";
  CommandOptions options;
  options.input =
      "{\"input_ids\": [101, 99999999]}\n{\"input_ids\": [-1]}\n{\"input_ids\": " + many +
      "]}\n{\"input_ids\": []}\n{\"input_ids\": [1], \"token_type_ids\": [7]}\n{\"input_ids\": [101, 102]}\n";
  const auto result = run_command({"predict", model_, "--raw"}, options);
  EXPECT_EQ(result.code, 2);
  const std::vector<Json> lines = testing::json_lines(result.out);
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_THAT(lines[0].at("error").get<std::string>(), HasSubstr("99999999"));
  EXPECT_THAT(lines[1].at("error").get<std::string>(), HasSubstr("-1"));
  EXPECT_THAT(lines[2].at("error").get<std::string>(), HasSubstr("160 positions"));
  EXPECT_THAT(lines[3].at("error").get<std::string>(), HasSubstr("is empty"));
  EXPECT_THAT(lines[4].at("error").get<std::string>(), HasSubstr("7"));
  EXPECT_TRUE(lines[5].contains("outputs"));
}

// Everything that is written appears when it is complete.
TEST_F(EngineHostile, AFullDiskKeepsTheOldFile) {
  CommandOptions full;
  full.file_size_limit = 16;
  full.input = testing::request_lines(questions_);
  write_file(scratch_ / "old", "old");
  const std::vector<std::vector<std::string>> commands = {
      {"predict", model_, "--squad", squad_, "--output", scratch_ / "old"},
      {"predict", model_, "--output", scratch_ / "old"},
      {"bench", model_, "--seq", "8", "--seconds", "0", "--warmup", "0", "--json", scratch_ / "old"},
      {"inspect", model_, "--plan", "--json", scratch_ / "old"},
  };
  for (const auto& words : commands) {
    // Standard output of the test's child is a file too; keep what it says below the limit.
    const auto result = run_command(words, full);
    EXPECT_EQ(result.code, 2) << words[0] << result.err;
    EXPECT_EQ(read_file(scratch_ / "old"), "old") << words[0];
  }
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(scratch_.path())) files += entry.is_regular_file() ? 1 : 0;
  EXPECT_EQ(files, 2U) << "temporary files were left";
}

TEST_F(EngineHostile, ControlCKeepsTheOldFile) {
  write_file(scratch_ / "old", "old");
  std::vector<Question> many;
  for (int i = 0; i < 4000; ++i)
    many.push_back({std::to_string(i), questions_[0].question, questions_[0].context});
  testing::write_squad(squad_, many);
  CommandOptions options;
  options.interrupt_at = "answering";
  const auto result = run_command({"predict", model_, "--squad", squad_, "--output", scratch_ / "old",
                                   "--tokens_per_batch", "1", "--isa", "ref"},
                                  options);
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_THAT(result.err, HasSubstr("interrupted"));
  EXPECT_EQ(read_file(scratch_ / "old"), "old");
}

}  // namespace
}  // namespace qdqbert
