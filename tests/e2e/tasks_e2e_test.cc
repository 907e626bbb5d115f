// The verbs of the other tasks as commands, on a tiny random encoder: from training to the exported file, and
// what is refused on the way.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/command.h"
#include "tests/e2e/tiny_model.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;
using testing::CommandResult;
using ::testing::HasSubstr;
using testing::run_command;
using testing::ScratchDirectory;
using Flags = std::vector<std::string>;

class TasksTest : public ::testing::Test {
 protected:
  TasksTest() : model_(scratch_ / "encoder") { testing::save_tiny_model(model_); }

  std::string file(const std::string& name, const std::string& text) const {
    write_file(scratch_.path() / name, text);
    return scratch_ / name;
  }

  CommandResult attempt(const std::string& verb, const std::string& model, const std::string& output,
                        const Flags& flags) const {
    Flags words = {verb, "--model_name_or_path", model, "--output_dir", scratch_ / output, "--threads", "1"};
    words.insert(words.end(), flags.begin(), flags.end());
    return run_command(words);
  }
  Json task(const std::string& verb, const std::string& model, const std::string& output,
            const Flags& flags) const {
    const CommandResult result = attempt(verb, model, output, flags);
    EXPECT_EQ(result.code, 0) << result.err;
    const fs::path results = scratch_.path() / output / "all_results.json";
    return fs::exists(results) ? read_json(results) : Json::object();
  }
  std::string content(const std::string& output, const std::string& name) const {
    return read_file(scratch_.path() / output / name);
  }
  /// Fails unless the command ends with 2 and one sentence that holds `words`.
  void expect_refused(const std::string& verb, const Flags& flags, const std::string& words) const {
    const CommandResult result = attempt(verb, model_, "refused", flags);
    EXPECT_EQ(result.code, 2) << verb << ": " << result.err;
    EXPECT_THAT(result.err, HasSubstr(words));
  }

  static Flags training(const std::string& steps) {
    return {"--do_train",
            "--max_steps",
            steps,
            "--learning_rate",
            "5e-3",
            "--per_device_train_batch_size",
            "8",
            "--save_strategy",
            "no",
            "--quant-disable",
            "--disable-dropout"};
  }
  static Flags joined(Flags a, const Flags& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  ScratchDirectory scratch_;
  std::string model_;
};

TEST_F(TasksTest, ClassifyFromTrainingToTheEngine) {
  std::string rows = "text,category\n";
  for (int i = 0; i < 16; ++i)
    rows += fmt::format("{} {},{}\n", i % 2 ? "good" : "bad", i / 2, i % 2 ? "praise" : "blame");
  const std::string data = file("data.csv", rows);
  const Flags files = {"--train_file",        data,       "--validation_file", data, "--test_file", data,
                       "--label_column_name", "category", "--max_seq_length",  "16"};
  Json results = task("classify", model_, "tuned", joined(joined(files, training("40")), {"--do_eval"}));
  EXPECT_GE(results["eval_accuracy"].get<double>(), 0.9) << results;
  EXPECT_LT(results["train_loss"].get<double>(), 0.6);
  const Json config = read_json(scratch_.path() / "tuned/config.json");
  EXPECT_EQ(config["id2label"], Json({{"0", "blame"}, {"1", "praise"}}));
  EXPECT_EQ(config["problem_type"], "single_label_classification");
  EXPECT_EQ(config["architectures"], Json::array({"QDQBertForSequenceClassification"}));

  results = task(
      "classify", scratch_ / "tuned", "int8",
      joined(files, {"--do_calib", "--do_eval", "--do_predict", "--save_onnx", "--num_calib_samples", "16"}));
  EXPECT_GE(results["eval_accuracy"].get<double>(), 0.8);
  EXPECT_EQ(results["eval_accuracy"], results["test_accuracy"]);
  EXPECT_THAT(content("int8", "predict_results.txt"), HasSubstr("index\tprediction\n0\t"));
  const CommandResult engine = run_command({"predict", scratch_ / "int8", "--text", "good 3"});
  EXPECT_EQ(engine.code, 0) << engine.err;
  std::istringstream lines(content("int8", "predict_predictions.jsonl"));
  std::string line;
  for (int i = 0; i < 8; ++i) std::getline(lines, line);
  const Json expected = parse_json(line, "line");
  EXPECT_EQ(expected["text"], "good 3");
  EXPECT_THAT(engine.out, HasSubstr(expected["label"].get<std::string>()));
}

TEST_F(TasksTest, SeveralLabelsAndNumbers) {
  const std::string several =
      file("several.jsonl",
           "{\"text\":\"red car\",\"label\":[\"color\",\"thing\"]}\n"
           "{\"text\":\"blue\",\"label\":[\"color\"]}\n{\"text\":\"then\",\"label\":[]}\n");
  Json results =
      task("classify", model_, "several",
           joined(training("3"), {"--train_file", several, "--validation_file", several, "--do_eval"}));
  EXPECT_TRUE(results.contains("eval_f1_micro")) << results;
  EXPECT_EQ(read_json(scratch_.path() / "several/config.json")["problem_type"], "multi_label_classification");
  const std::string numbers =
      file("numbers.tsv", "sentence1\tsentence2\tlabel\nan a\ta b\t0.5\nb\tc\t2\nd\te\t4.5\n");
  results = task("classify", model_, "numbers",
                 joined(training("3"), {"--train_file", numbers, "--validation_file", numbers, "--do_eval"}));
  EXPECT_TRUE(results.contains("eval_pearson")) << results;
  // A saved regression model knows what it is.
  results = task(
      "classify", scratch_ / "numbers", "numbers2",
      {"--validation_file", file("integers.csv", "text,label\na,1\nb,2\n"), "--do_eval", "--quant-disable"});
  EXPECT_TRUE(results.contains("eval_mse")) << results;
}

TEST_F(TasksTest, TagFromTrainingToEntities) {
  std::string columns;
  for (int i = 0; i < 12; ++i)
    columns += fmt::format("i\tO\nsaw\tO\n{}\tB-{}\n{}\n", i % 2 ? "paris" : "anna", i % 2 ? "LOC" : "PER",
                           i % 3 ? "" : "today\tO\n");
  const std::string data = file("data.conll", columns);
  const Flags files = {"--train_file", data, "--validation_file", data, "--test_file", data};
  Json results = task("tag", model_, "tuned",
                      joined(joined(files, training("40")), {"--do_eval", "--return_entity_level_metrics"}));
  EXPECT_GE(results["eval_f1"].get<double>(), 0.9) << results;
  EXPECT_EQ(results["eval_LOC"]["number"], 6);
  results = task("tag", scratch_ / "tuned", "int8",
                 joined(files, {"--do_calib", "--do_predict", "--save_onnx", "--num_calib_samples", "12"}));
  EXPECT_TRUE(results.contains("test_f1"));
  const std::string entities = content("int8", "predict_entities.jsonl");
  EXPECT_THAT(entities, HasSubstr("\"start\": 6"));
  EXPECT_TRUE(fs::exists(scratch_.path() / "int8/model.onnx"));
  // Tags are as many as words in every line.
  EXPECT_EQ(content("int8", "predict_predictions.txt").substr(0, 2), "O ");
}

TEST_F(TasksTest, ChooseAmongDifferentNumbers) {
  std::string lines;
  for (int i = 0; i < 12; ++i)
    lines += fmt::format("{{\"prompt\":\"item {}\",\"choices\":[{}\"bad\",\"good\"],\"answer\":{}}}\n", i,
                         i % 3 ? "" : "\"bad\",", i % 3 ? 1 : 2);
  const std::string data = file("data.jsonl", lines);
  const Flags files = {"--train_file", data, "--validation_file", data, "--test_file", data};
  Json results = task("choose", model_, "tuned", joined(joined(files, training("30")), {"--do_eval"}));
  EXPECT_GE(results["eval_accuracy"].get<double>(), 0.9) << results;
  results = task("choose", scratch_ / "tuned", "int8",
                 joined(files, {"--do_calib", "--do_predict", "--save_onnx", "--num_calib_samples", "12"}));
  const Json predictions = parse_json(content("int8", "predict_predictions.json"), "predictions");
  EXPECT_EQ(predictions.size(), 12u);
  EXPECT_TRUE(fs::exists(scratch_.path() / "int8/model.onnx"));
}

TEST_F(TasksTest, LanguageModels) {
  std::string text;
  for (int i = 0; i < 24; ++i) text += fmt::format("the cat sat on mat {} .\n{}", i, i % 6 == 5 ? "\n" : "");
  const std::string data = file("text.txt", text);
  const Flags files = {"--train_file", data, "--max_seq_length", "32"};
  Json results = task("lm", model_, "masked",
                      joined(joined(files, training("4")),
                             {"--do_eval", "--whole_word_mask", "--validation_split_percentage", "50"}));
  EXPECT_NEAR(results["eval_perplexity"].get<double>(), std::exp(results["eval_loss"].get<double>()),
              1e-9 * results["eval_perplexity"].get<double>());
  results = task(
      "lm", model_, "nsp",
      joined(joined(files, training("4")), {"--objective", "nsp", "--do_eval", "--validation_file", data}));
  EXPECT_TRUE(results.contains("eval_accuracy"));
  const Flags generate = {"--objective",      "causal", "--do_generate", "--prompt", "the cat",
                          "--max_new_tokens", "12"};
  results = task("lm", model_, "causal", joined(joined(files, training("30")), generate));
  const std::string cached = content("causal", "generated.jsonl");
  EXPECT_EQ(read_json(scratch_.path() / "causal/config.json")["is_decoder"], true);
  task("lm", scratch_ / "causal", "again", joined(generate, {"--quant-disable", "--no_cache"}));
  const Json with = parse_json(cached, "with"),
             without = parse_json(content("again", "generated.jsonl"), "without");
  EXPECT_EQ(with["generated"][0]["tokens"], without["generated"][0]["tokens"]);
  task("lm", scratch_ / "causal", "beams", joined(generate, {"--quant-disable", "--num_beams", "3"}));
  EXPECT_EQ(parse_json(content("beams", "generated.jsonl"), "beams")["generated"].size(), 3u);
}

TEST_F(TasksTest, HelpTeaches) {
  for (const char* verb : {"classify", "tag", "choose", "lm"}) {
    const CommandResult help = run_command({verb, "--help"});
    EXPECT_EQ(help.code, 0);
    for (const char* words :
         {"--do_train", "--do_calib", "--save_onnx", "--calibrator", "--teacher", "qdqbert "})
      EXPECT_THAT(help.out, HasSubstr(words)) << verb;
  }
}

TEST_F(TasksTest, WhatDoesNotFitIsRefused) {
  const std::string good = file("good.csv", "text,label\na,x\nb,y\n");
  const std::string other = file("other.csv", "text,label\na,x\nb,z\n");
  const std::string one = file("one.csv", "text,label\na,x\nb,x\n");
  const std::string ragged = file("ragged.conll", "a O\nb\n");
  const std::string empty = file("empty.txt", "\n\n");
  const Flags train = training("1");
  const auto with = [&](const Flags& more) { return joined(train, more); };
  expect_refused("classify", {}, "nothing to do");
  expect_refused("classify", {"--do_eval"}, "--validation_file");
  expect_refused("classify", {"--do_eval", "--validation_file", "absent.csv"}, "absent.csv");
  expect_refused("classify", with({"--train_file", good, "--validation_file", other, "--do_eval"}),
                 "other.csv:3");
  expect_refused("classify", with({"--train_file", one}), "at least two labels");
  expect_refused("classify", with({"--train_file", good, "--do_regression"}), "good.csv:2");
  expect_refused("classify", with({"--train_file", good, "--do_regression", "--multi_label"}),
                 "exclude each other");
  expect_refused("classify", {"--task_name", "sst2", "--do_eval"}, "--train_file");
  expect_refused("tag", with({"--train_file", ragged}), "ragged.conll:2");
  expect_refused("choose",
                 with({"--train_file", file("c.jsonl", "{\"prompt\":\"p\",\"choices\":[],\"answer\":0}\n")}),
                 "c.jsonl:1");
  expect_refused("lm", with({"--train_file", empty}), "no text");
  expect_refused("lm", {"--do_generate", "--prompt", "a"}, "--objective causal");
  expect_refused("lm", {"--objective", "causal", "--do_generate"}, "--prompt");
  expect_refused("lm",
                 {"--objective", "causal", "--do_generate", "--prompt", "a", "--max_new_tokens", "1000"},
                 "160 positions");
}

}  // namespace
}  // namespace qdqbert
