// The command from outside: start-up, dispatch, exit codes, inspect.
#include "tests/e2e/command.h"

#include <algorithm>
#include <csignal>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/sha256.h"
#include "qdqbert/io/checkpoint.h"

#include "tests/support/golden.h"

namespace qdqbert {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::run_command;
using testing::ScratchDirectory;

const std::string kModel = QDQBERT_SOURCE_DIR "/models/minilm-l6-squad";

TEST(CommandTest, HelpVersionAndMistakes) {
  const auto help = run_command({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* verb : {"qa", "tokenize", "inspect", "average", "predict", "evaluate-onnx", "bench"})
    EXPECT_THAT(help.out, HasSubstr(verb));
  EXPECT_THAT(run_command({"--version"}).out, ::testing::StartsWith("qdqbert "));
  EXPECT_EQ(run_command({}).code, 2);
  const auto unknown = run_command({"anser"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("unknown verb \"anser\"; there are qa"));
  EXPECT_EQ(std::count(unknown.err.begin(), unknown.err.end(), '\n'), 1);
}

// As in `qdqbert inspect ... | head`: the status is SIGPIPE's, and there is nothing to complain about.
TEST(CommandTest, AReaderThatHasGoneEndsTheCommandQuietly) {
  const ScratchDirectory scratch;
  // More lines than the stream's buffer holds, and fewer: the write fails in their midst, and at the end.
  for (const int lines : {1, 4000}) {
    testing::CommandOptions options;
    options.reader_gone = true;
    std::string texts;
    for (int i = 0; i < lines; ++i) texts += "Where was the treaty signed?\n";
    write_file(scratch / "texts", texts);
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"tokenize", kModel, "--input", scratch / "texts"},
          std::vector<std::string>{"inspect", kModel}, std::vector<std::string>{"tokenize", "--help"}}) {
      const auto result = run_command(words, options);
      EXPECT_EQ(result.code, 128 + SIGPIPE) << words[0];
      EXPECT_THAT(result.err, Not(HasSubstr("failed"))) << words[0];
      EXPECT_THAT(result.err, Not(HasSubstr("cannot"))) << words[0];
    }
  }
}

// The loader names every shared library that it opens, at start and later.
TEST(CommandTest, LightVerbsStartAtOnceAndNeverLoadLibTorch) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"tokenize", "--help"}, std::vector<std::string>{"inspect", kModel},
        std::vector<std::string>{"predict", "--help"}, std::vector<std::string>{"bench", "--help"},
        std::vector<std::string>{"average", "--help"}, std::vector<std::string>{"evaluate-onnx", "--help"}}) {
    testing::CommandOptions options;
    options.environment = {{"LD_DEBUG", "files"}};
    const auto traced = run_command(words, options);
    EXPECT_EQ(traced.code, 0) << traced.err;
    EXPECT_THAT(traced.err, HasSubstr("libstdc++"));
    EXPECT_THAT(traced.err, Not(HasSubstr("libtorch")));
    EXPECT_THAT(traced.err, Not(HasSubstr("libc10")));
    double best = 1e9;
    for (int round = 0; round < 10; ++round) best = std::min(best, run_command(words).seconds);
    std::printf("%s %s: %.1f ms\n", words[0].c_str(), words[1].c_str(), 1e3 * best);
#ifndef QDQBERT_SANITIZED
    EXPECT_LT(best, 0.050);
#endif
  }
}

TEST(InspectTest, FloatCheckpoint) {
  const ScratchDirectory scratch;
  const auto result = run_command({"inspect", kModel, "--json", scratch / "facts.json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("not calibrated yet"));
  const Json facts = read_json(scratch / "facts.json");
  const int64_t layers = facts.at("config").at("num_hidden_layers").get<int64_t>();
  EXPECT_EQ(facts.at("quantizers").size(), static_cast<size_t>(20 * layers));
  EXPECT_EQ(facts.at("ranges"), 0);
  EXPECT_EQ(facts.at("weights").at("types").size(), 1U);
}

TEST(InspectTest, TrainedCheckpointTellsItsHistory) {
  const std::string directory = kModel + "-qat";
  const auto result = run_command({"inspect", directory});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("quantizers   120, 120 with a range"));
  EXPECT_THAT(result.out,
              HasSubstr("calibrated   percentile 99.99, 256 samples of squad-v1.1-train.json.gz\n"));
  EXPECT_THAT(
      result.out,
      HasSubstr("mean of      qat-kd-b: 0.5 epochs of batches of 32, learning rate 0.0001 linear, seed 44"));
  EXPECT_THAT(read_file(directory + "/README.md"),
              HasSubstr(sha256(read_file(directory + "/model.safetensors"))));
}

TEST(InspectTest, TellsOneTraining) {
  const ScratchDirectory scratch;
  std::filesystem::copy(kModel + "-qat", scratch / "model");
  Json record = read_json(scratch / "model/quantization.json");
  record["training"] = record.at("averaged").at(0).at("training");
  record.erase("averaged");
  write_file(scratch / "model/quantization.json", dump_json(record, {}));
  EXPECT_THAT(run_command({"inspect", scratch / "model"}).out,
              HasSubstr("trained      0.5 epochs of batches of 32, learning rate 0.0001 linear, seed 43"));
}

// The mean of a model and itself is that model, in FP32; its history names both.
TEST(AverageTest, WritesAModelThatInspectUnderstands) {
  const ScratchDirectory scratch;
  const std::string model = kModel + "-qat", mean = scratch / "mean";
  const auto result = run_command({"average", "--models", model, model, "--output_dir", mean});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("Mean of 2 models"));
  EXPECT_THAT(result.err, Not(HasSubstr("ranges differ")));
  const io::Checkpoint before = io::Checkpoint::open(model), after = io::Checkpoint::open(mean);
  ASSERT_EQ(before.tensors().size(), after.tensors().size());
  for (const io::NamedTensor& item : before.tensors())
    EXPECT_EQ(to_float32(item.tensor), to_float32(after.at(item.name))) << item.name;
  const auto facts = run_command({"inspect", mean});
  ASSERT_EQ(facts.code, 0) << facts.err;
  EXPECT_THAT(facts.out, HasSubstr("quantizers   120, 120 with a range"));
  EXPECT_THAT(facts.out, HasSubstr("mean of      minilm-l6-squad-qat\n"));
  EXPECT_EQ(run_command({"tokenize", mean}).code, 0);
}

TEST(AverageTest, RefusesWhatCannotBeAveraged) {
  const ScratchDirectory scratch;
  const std::string model = kModel + "-qat", out = scratch / "out";
  const auto refused = [&](const std::vector<std::string>& words, const std::string& sentence) {
    const auto result = run_command(words);
    EXPECT_EQ(result.code, 2) << sentence;
    EXPECT_THAT(result.err, HasSubstr(sentence));
    EXPECT_FALSE(std::filesystem::exists(out));
  };
  refused({"average", "--models", model, "--output_dir", out}, "two directories at least");
  refused({"average", "--models", model, kModel, "--output_dir", out}, "not trainings of one model");
  refused({"average", "--models", model, model, "--output_dir", model}, "is one of the models");
  refused({"average", "--models", model, scratch / "none", "--output_dir", out}, "none");
  refused({"average", "--models", model, model, "--output_dir", out, "--save_dtype", "f8"}, "f8");
  std::filesystem::copy(model, scratch / "other");
  write_file(scratch / "other/quantization.json", "[1]");
  refused({"average", "--models", model, scratch / "other", "--output_dir", out}, "holds no JSON object");
  write_file(scratch / "other/quantization.json", R"({"quantizers": [1, {"name": 2}], "training": 3})");
  EXPECT_EQ(
      run_command({"average", "--models", scratch / "other", model, "--output_dir", scratch / "odd"}).code,
      0);
  write_file(scratch / "odd/quantization.json", R"({"averaged": [1, {"model": 2, "training": "x"}]})");
  EXPECT_EQ(run_command({"inspect", scratch / "odd"}).code, 0);
  Json config = read_json(scratch / "other/config.json");
  config["num_attention_heads"] = 6;
  write_file(scratch / "other/config.json", dump_json(config, {}));
  refused({"average", "--models", model, scratch / "other", "--output_dir", out},
          "num_attention_heads is 12 in the first, 6 in the second");
}

TEST(InspectTest, OnnxFiles) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(testing::golden_dir() / "onnx")) {
    const std::filesystem::path file = entry.path() / "model.onnx";
    if (!std::filesystem::exists(file)) continue;
    ++files;
    const ScratchDirectory scratch;
    const auto result = run_command({"inspect", file.string(), "--all", "--json", scratch / "facts.json"});
    ASSERT_EQ(result.code, 0) << result.err;
    const Json facts = read_json(scratch / "facts.json");
    const Json& operators = facts.at("graph").at("operators");
    if (operators.contains("QLinearMatMul") || operators.contains("MatMulInteger")) continue;  // no pairs
    const int64_t pairs =
        operators.contains("DequantizeLinear") ? operators["DequantizeLinear"].get<int64_t>() : 0;
    EXPECT_EQ(facts.at("quantized").size(), static_cast<size_t>(pairs)) << file;
    EXPECT_EQ(facts.at("lint").size(), facts.at("quantized").size()) << file;
    EXPECT_THAT(result.out, HasSubstr(fmt::format("Q/DQ pairs   {}, ", pairs)));
    EXPECT_EQ(run_command({"inspect", entry.path().string(), "--all"}).out, result.out)
        << "the export's directory";
  }
  EXPECT_GT(files, 0);
}

TEST(InspectTest, MistakesAreOneSentence) {
  const ScratchDirectory scratch;
  write_file(scratch / "config.json", "{\"model_type\": \"gpt2\"}");
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"inspect"}, std::vector<std::string>{"inspect", scratch.path().string()},
        std::vector<std::string>{"inspect", scratch / "nothing"},
        std::vector<std::string>{"inspect", scratch / "config.json"}}) {
    const auto result = run_command(words);
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_THAT(result.err, ::testing::StartsWith("qdqbert: "));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
}

}  // namespace
}  // namespace qdqbert
