// predict, evaluate-onnx, bench and inspect --plan as scripts use them.
#include <algorithm>
#include <cmath>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/base/utf8.h"

#include "tests/e2e/command.h"
#include "tests/e2e/engine_model.h"
#include "tests/support/golden.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;
using testing::CommandOptions;
using testing::CommandResult;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using testing::Question;
using testing::run_command;

class EngineVerbs : public ::testing::Test {
 protected:
  EngineVerbs() : model_(scratch_ / "model"), squad_(scratch_ / "squad.json") {
    testing::write_engine_model(model_);
    questions_ = testing::real_questions(12);
    testing::write_squad(squad_, questions_);
  }

  /// Fails the test unless the exit code is 0.
  CommandResult good(const std::vector<std::string>& words, const std::string& input = "") const {
    CommandOptions options;
    options.input = input;
    CommandResult result = run_command(words, options);
    EXPECT_EQ(result.code, 0) << fmt::format("{} {}: {}", words[0], words[1], result.err);
    return result;
  }
  std::string predictions(std::vector<std::string> flags) const {
    flags.insert(flags.begin(),
                 {"predict", model_, "--squad", squad_, "--output", scratch_ / "predictions.json"});
    good(flags);
    return read_file(scratch_ / "predictions.json");
  }

  testing::ScratchDirectory scratch_;
  std::string model_, squad_;
  std::vector<Question> questions_;
};

TEST_F(EngineVerbs, OneQuestion) {
  const Question& q = questions_[0];
  const auto result = good({"predict", model_, "--question", q.question, "--context", q.context, "--n_best",
                            "3", "--json", scratch_ / "answer.json"});
  const Json answer = read_json(scratch_ / "answer.json");
  const std::string text = answer.at("answer");
  EXPECT_THAT(result.out, ::testing::StartsWith(text + "\n  score 0."));
  const CodePointIndex context(q.context);
  EXPECT_EQ(context.slice(answer.at("start").get<size_t>(), answer.at("end").get<size_t>()), text);
  ASSERT_EQ(answer.at("n_best").size(), 3U);
  EXPECT_EQ(answer.at("n_best")[0].at("answer"), text);
  EXPECT_GE(answer.at("n_best")[0].at("score").get<double>(),
            answer.at("n_best")[1].at("score").get<double>());
}

// The promise of the engine seen from outside: neither instruction set, threads, batches, padding nor the way
// of asking changes an answer.
TEST_F(EngineVerbs, AnswersDoNotDependOnHowTheyAreComputed) {
  const std::string expected = predictions({});
  EXPECT_EQ(read_json(scratch_ / "predictions.json").size(), questions_.size());
  EXPECT_EQ(predictions({"--threads", "1", "--tokens_per_batch", "1"}), expected);
  EXPECT_EQ(predictions({"--threads", "3", "--tokens_per_batch", "100000", "--pin"}), expected);
  for (const Isa isa : kIsas)
    if (supports(isa)) {
      EXPECT_EQ(predictions({"--isa", std::string(name_of(isa))}), expected);
    }
  // evaluate-onnx runs padded rows in the order of the file.
  const std::string length = std::to_string(testing::kEnginePositions);
  good({"evaluate-onnx", "--onnx_model_path", model_, "--tokenizer_name", model_, "--validation_file", squad_,
        "--output_dir", scratch_ / "scores", "--int8", "--max_seq_length", length, "--doc_stride",
        std::to_string(testing::kEnginePositions / 3)});
  EXPECT_EQ(read_file(scratch_ / "scores/eval_predictions.json"), expected);
  const Json by_id = parse_json(expected, "predictions");
  const auto lines = testing::json_lines(good({"predict", model_}, testing::request_lines(questions_)).out);
  ASSERT_EQ(lines.size(), questions_.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].at("id"), questions_[i].id);
    EXPECT_EQ(lines[i].at("answer"), by_id.at(questions_[i].id));
    EXPECT_EQ(CodePointIndex(questions_[i].context)
                  .slice(lines[i].at("start").get<size_t>(), lines[i].at("end").get<size_t>()),
              lines[i].at("answer").get<std::string>());
  }
}

TEST_F(EngineVerbs, LongContextsAreCutIntoWindows) {
  std::string context;
  for (int i = 0; i < 400; ++i) context += fmt::format("{}word{} ", i == 0 ? "" : " ", i);
  const std::vector<Question> longer = {{"long", "which word?", context}};
  testing::write_squad(squad_, longer);
  const auto windows = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"predict", model_, "--squad", squad_, "--output", scratch_ / "p", "--json",
                                 scratch_ / "j"});
    good(flags);
    return read_json(scratch_ / "j").at("windows").get<int>();
  };
  const int few = windows({});
  EXPECT_GT(few, 4);
  EXPECT_GT(windows({"--doc_stride", "100"}), few);
  EXPECT_GT(windows({"--max_seq_length", "64"}), few);
}

TEST_F(EngineVerbs, QuestionsWithoutAnswer) {
  const auto answer_with = [&](const std::string& threshold) {
    return testing::json_lines(
        good({"predict", model_, "--version_2_with_negative", "--null_score_diff_threshold", threshold},
             testing::request_lines({questions_[0]}))
            .out)[0];
  };
  const Json none = answer_with("-1000"), some = answer_with("1000");
  EXPECT_EQ(none.at("answer"), "");
  EXPECT_EQ(none.at("end"), 0);
  EXPECT_NE(some.at("answer"), "");
  EXPECT_EQ(none.at("null_odds"), some.at("null_odds"));
}

TEST_F(EngineVerbs, FilesOfTheOriginal) {
  good({"predict", model_, "--squad", squad_, "--output", scratch_ / "p.json", "--n_best_output",
        scratch_ / "n.json"});
  const Json predictions = read_json(scratch_ / "p.json"), n_best = read_json(scratch_ / "n.json");
  for (const Question& q : questions_) {
    EXPECT_EQ(n_best.at(q.id)[0].at("text"), predictions.at(q.id));
    for (const char* key : {"start_logit", "end_logit", "probability"})
      EXPECT_TRUE(n_best.at(q.id)[0].contains(key));
  }
}

/// A child whose standard input and output stay open.
class Conversation {
 public:
  explicit Conversation(const std::vector<std::string>& arguments) {
    int in[2], out[2];
    EXPECT_EQ(::pipe(in), 0);
    EXPECT_EQ(::pipe(out), 0);
    std::vector<std::string> words = {testing::command_path().string()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      for (const int end : {in[0], in[1], out[0], out[1]}) ::close(end);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    write_ = in[1];
    read_ = out[0];
  }
  void say(const std::string& text) const {
    EXPECT_EQ(::write(write_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  std::string hear_line() const {
    std::string line;
    for (char c; ::read(read_, &c, 1) == 1 && c != '\n';) line += c;
    return line;
  }
  int end(int signal = 0) {
    if (signal) ::kill(child_, signal);
    if (!signal) ::close(write_);
    int status = 0;
    ::waitpid(child_, &status, 0);
    if (signal) ::close(write_);
    ::close(read_);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t child_ = -1;
  int write_ = -1, read_ = -1;
};

// Who keeps the pipe open gets each answer as soon as it is there.
TEST_F(EngineVerbs, AConversation) {
  Conversation talk({"predict", model_});
  for (const Question& q : {questions_[0], questions_[1]}) {
    talk.say(testing::request_lines({q}));
    EXPECT_EQ(parse_json(talk.hear_line(), "answer").at("id"), q.id);
  }
  talk.say("nonsense\n");
  EXPECT_TRUE(parse_json(talk.hear_line(), "error").contains("error"));
  talk.say(testing::request_lines({questions_[2]}));
  EXPECT_EQ(parse_json(talk.hear_line(), "answer").at("id"), questions_[2].id);
  EXPECT_EQ(talk.end(), 2);  // one line was wrong
}

TEST_F(EngineVerbs, ControlCEndsAConversation) {
  write_file(scratch_ / "out", "old");
  Conversation talk({"predict", model_});
  talk.say(testing::request_lines({questions_[0]}));
  EXPECT_NE(talk.hear_line(), "");
  EXPECT_EQ(talk.end(SIGINT), 1);
}

TEST_F(EngineVerbs, S19_EvaluateAsTheOriginalsScript) {
  const auto result = good({"evaluate-onnx",
                            "--onnx_model_path",
                            model_ + "/model.onnx",
                            "--output_dir",
                            scratch_ / "scores",
                            "--tokenizer_name",
                            testing::kShippedTokenizer.string(),
                            "--validation_file",
                            squad_,
                            "--dataset_config_name",
                            "plain_text",
                            "--max_seq_length",
                            "128",
                            "--doc_stride",
                            "32",
                            "--per_device_eval_batch_size",
                            "5",
                            "--n_best_size",
                            "20",
                            "--max_answer_length",
                            "30",
                            "--seed",
                            "42",
                            "--preprocessing_num_workers",
                            "2",
                            "--overwrite_cache",
                            "--null_score_diff_threshold",
                            "0.0",
                            "--int8",
                            "--json",
                            scratch_ / "scores.json"});
  const Json report = read_json(scratch_ / "scores.json");
  const auto features = report.at("features").get<int>();
  EXPECT_GE(features, static_cast<int>(questions_.size()));
  for (const std::string& line :
       {fmt::format("  Num examples = {}\n", features), std::string("  Batch size = 5\n"),
        fmt::format("Total Number of Inference =  {}\n", (features + 4) / 5),
        std::string("Evaluation metrics: {'exact_match': ")})
    EXPECT_THAT(result.out, HasSubstr(line));
  EXPECT_THAT(result.out, ::testing::ContainsRegex(
                              "Evaluation done in total [0-9.]+ secs \\([0-9.]+ sec per example\\)"));
  EXPECT_THAT(result.out, ::testing::ContainsRegex("Average Inference Time = [0-9]+\\.[0-9]{3} ms"));
  EXPECT_THAT(result.out, ::testing::ContainsRegex("Total Inference Time =  [0-9]+\\.[0-9]{3} ms"));
  for (const char* key : {"exact_match", "f1"}) EXPECT_TRUE(report.at(key).is_number()) << key;
  EXPECT_GT(report.at("seconds").at("evaluate").get<double>(), 0);
  EXPECT_EQ(read_json(scratch_ / "scores/eval_predictions.json").size(), questions_.size());
  EXPECT_EQ(read_json(scratch_ / "scores/eval_nbest_predictions.json").size(), questions_.size());
  EXPECT_FALSE(fs::exists(scratch_ / "scores/eval_null_odds.json"));
}

TEST_F(EngineVerbs, EvaluateInFloatAndHalfAndWithoutAnswers) {
  testing::write_squad(squad_, questions_, false);
  const std::vector<std::string> words = {"evaluate-onnx",
                                          "--onnx_model_path",
                                          model_,
                                          "--tokenizer_name",
                                          model_,
                                          "--validation_file",
                                          squad_,
                                          "--output_dir",
                                          scratch_ / "scores",
                                          "--max_seq_length",
                                          "128",
                                          "--doc_stride",
                                          "32",
                                          "--max_eval_samples",
                                          "3",
                                          "--version_2_with_negative",
                                          "--json",
                                          scratch_ / "j"};
  for (const std::string flag : {"", "--fp16"}) {
    std::vector<std::string> all = words;
    if (!flag.empty()) all.push_back(flag);
    const auto result = good(all);
    EXPECT_THAT(result.out, HasSubstr("Evaluation metrics: {'exact': "));
    EXPECT_EQ(read_json(scratch_ / "j").at("precision"), flag.empty() ? "fp32" : "bf16");
    EXPECT_EQ(read_json(scratch_ / "j").at("questions"), 3);
    EXPECT_EQ(result.err.find("BF16") != std::string::npos, !flag.empty());
  }
  EXPECT_EQ(read_json(scratch_ / "scores/eval_null_odds.json").size(), 3U);
}

// The original strips it here, and only here; no token comes from it.
TEST_F(EngineVerbs, WhiteSpaceBeforeQuestionsChangesNothing) {
  const auto evaluated = [&] {
    testing::write_squad(squad_, questions_);
    good({"evaluate-onnx", "--onnx_model_path", model_, "--tokenizer_name", model_, "--validation_file",
          squad_, "--output_dir", scratch_ / "scores", "--int8", "--max_seq_length", "128", "--doc_stride",
          "32"});
    return read_file(scratch_ / "scores/eval_nbest_predictions.json");
  };
  const std::string expected = evaluated();
  for (Question& q : questions_) q.question = "\u3000\u00a0 \t" + q.question;
  EXPECT_EQ(evaluated(), expected);
}

TEST_F(EngineVerbs, BenchWritesWhatScriptsRead) {
  const auto result =
      good({"bench", model_, "--batch", "3", "--seq", "20", "--threads", "1", "--seconds", "0.1", "--warmup",
            "0", "--isa", "ref", "--profile", "--json", scratch_ / "b.json"});
  const Json figures = read_json(scratch_ / "b.json");
  const Json& latency = figures.at("latency_ms");
  double before = 0;
  for (const char* key : {"min", "median", "p90", "p95", "p99"}) {
    EXPECT_GE(latency.at(key).get<double>(), before) << key;
    before = latency.at(key).get<double>();
  }
  EXPECT_GT(latency.at("min").get<double>(), 0);
  EXPECT_GE(latency.at("mean").get<double>(), latency.at("min").get<double>());
  const double runs = figures.at("runs").get<double>(), seconds = figures.at("seconds").get<double>();
  EXPECT_GE(runs, 10);
  EXPECT_NEAR(figures.at("throughput_sequences_per_second").get<double>(), 3 * runs / seconds,
              1e-6 * 3 * runs / seconds);
  EXPECT_NEAR(figures.at("throughput_tokens_per_second").get<double>(), 60 * runs / seconds,
              1e-6 * 60 * runs / seconds);
  EXPECT_EQ(figures.at("isa"), "ref");
  EXPECT_EQ(figures.at("threads"), 1);
  EXPECT_GT(figures.at("peak_rss_mb").get<double>(), 1);
  EXPECT_GE(figures.at("peak_rss_mb").get<double>(), figures.at("resident_mb").get<double>());
  EXPECT_GT(figures.at("share_of_peak").get<double>(), 0);
  EXPECT_NEAR(figures.at("share_of_peak").get<double>(),
              figures.at("gops").get<double>() / figures.at("peak_gops").get<double>(), 1e-9);
  EXPECT_GT(figures.at("load_ms").get<double>(), 0);
  bool rated = false;
  for (const Json& step : figures.at("profile")) {
    EXPECT_GE(step.at("ms").get<double>(), 0);
    rated |= step.at("gops").is_number() && step.at("share_of_peak").is_number();
  }
  EXPECT_TRUE(rated);
  for (const char* word : {"latency", "throughput", "memory", "compute", "linear int8"})
    EXPECT_THAT(result.out, HasSubstr(word));
}

TEST_F(EngineVerbs, BenchWithMixedLengthsRunsWholeRounds) {
  const auto sequences = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"bench", model_, "--seq", "40", "--seconds", "0.05", "--warmup", "0",
                                 "--json", scratch_ / "b.json"});
    good(flags);
    const Json figures = read_json(scratch_ / "b.json");
    return figures.at("throughput_sequences_per_second").get<double>() * figures.at("seconds").get<double>();
  };
  EXPECT_NEAR(std::remainder(sequences({"--lengths", "mixed", "--batch", "8"}), 32), 0, 1e-6);
  EXPECT_NEAR(std::remainder(sequences({"--lengths", "mixed", "--tokens_per_batch", "100", "--streams", "2",
                                        "--threads", "1"}),
                             32),
              0, 1e-6);
  write_file(scratch_ / "lengths", "1\n40\n7\n");
  EXPECT_NEAR(std::remainder(sequences({"--lengths", scratch_ / "lengths", "--batch", "1"}), 3), 0, 1e-6);
}

TEST_F(EngineVerbs, S18_BenchAsTrtexec) {
  const auto result =
      good({"bench", "--onnx=" + model_ + "/model.onnx", "--explicitBatch", "--workspace=16384", "--int8",
            "--shapes=input_ids:4x16,attention_mask:4x16,token_type_ids:4x16", "--verbose", "--duration=0",
            "--warmUp=0", "--iterations=4", "--avgRuns=2", "--noDataTransfers"});
  EXPECT_THAT(result.err, HasSubstr("ignored: --explicitBatch --workspace=16384 --noDataTransfers"));
  EXPECT_THAT(result.out, HasSubstr("4 of 4 x 16 tokens"));
  EXPECT_THAT(result.out, HasSubstr("average of runs 2 to 3:"));
  EXPECT_THAT(result.out, HasSubstr("attention int8"));  // the plan
}

// The original's ort-infer-benchmark.py: one warm-up and 2,000 runs of ones.
TEST_F(EngineVerbs, S20_BenchAsTheOnnxRuntimeScript) {
  const auto result = good({"bench", model_, "--like-ort-script", "--json", scratch_ / "b.json"});
  EXPECT_THAT(result.out, MatchesRegex("Create inference session...\nWarm up phase...\nStart inference...\n"
                                       "Average Inference Time = [0-9]+\\.[0-9][0-9][0-9] ms\n"));
  EXPECT_EQ(read_json(scratch_ / "b.json").at("runs"), 2000);
  EXPECT_EQ(read_json(scratch_ / "b.json").at("seq"), 128);
}

TEST_F(EngineVerbs, InspectPlan) {
  const auto result = good({"inspect", model_, "--plan", "--graph", "--json", scratch_ / "plan.json"});
  const Json facts = read_json(scratch_ / "plan.json");
  EXPECT_FALSE(facts.at("steps").empty());
  EXPECT_EQ(facts.at("isa"), name_of(preferred_isa()));
  for (const Json& step : facts.at("steps")) {
    EXPECT_THAT(result.out, HasSubstr(step.at("kind").get<std::string>()));
    EXPECT_NE(step.at("kernel"), "");
  }
  EXPECT_THAT(result.out, HasSubstr(facts.at("graph").get<std::string>()));
  const auto ref = good({"inspect", model_ + "/model.onnx", "--plan", "--isa", "ref", "--threads", "1"});
  EXPECT_THAT(ref.out, HasSubstr("on ref, 1 thread;"));
}

TEST_F(EngineVerbs, OtherModelsSayWhatTheyGive) {
  const std::string other = scratch_ / "classes";
  testing::write_engine_model(other, onnx::GraphHead::kSequenceClassification);
  const auto refused = run_command({"predict", other, "--question", "q", "--context", "c"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("does not answer questions"));
  EXPECT_THAT(refused.err, HasSubstr("logits [1, 2]"));
  const auto lines = testing::json_lines(good({"predict", other, "--raw"},
                                              "{\"id\": 1, \"input_ids\": [101, 7592, 102]}\n"
                                              "{\"input_ids\": [101, 102], \"token_type_ids\": [0, 1]}\n")
                                             .out);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].at("outputs").at("logits").at("shape"), Json::array({1, 2}));
  EXPECT_EQ(lines[1].at("outputs").at("logits").at("values").size(), 2U);
  good({"bench", other, "--seconds", "0", "--seq", "8"});
}

// Whatever the golden files are, and whoever wrote them.
TEST(EngineVerbsGolden, EveryQuestionAnsweringFileAnswers) {
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (char c = 'a'; c <= 'z'; ++c) vocabulary += fmt::format("{}\n##{}\n", c, c);
  const testing::ScratchDirectory scratch;
  write_file(scratch / "vocab.txt", vocabulary);
  int files = 0;
  for (const auto& entry : fs::directory_iterator(testing::golden_dir() / "onnx")) {
    if (!fs::exists(entry.path() / "model.onnx")) continue;
    CommandOptions options;
    options.input = "{\"id\": 1, \"question\": \"who won\", \"context\": \"ann won\"}\n";
    const auto result = run_command({"predict", (entry.path() / "model.onnx").string(), "--task", "qa",
                                     "--tokenizer", scratch / "vocab.txt"},
                                    options);
    if (result.err.find("does not answer questions") != std::string::npos) continue;
    ASSERT_EQ(result.code, 0) << entry.path() << ": " << result.err;
    const Json answer = parse_json(result.out, "answer");
    EXPECT_EQ(
        std::string("ann won").substr(answer.at("start").get<size_t>(),
                                      answer.at("end").get<size_t>() - answer.at("start").get<size_t>()),
        answer.at("answer").get<std::string>());
    ++files;
  }
  EXPECT_GT(files, 0);
}

}  // namespace
}  // namespace qdqbert
