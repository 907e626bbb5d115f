// What people do wrong, and what goes wrong around them: one sentence, exit code 2, nothing half-written.
#include <algorithm>
#include <set>

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

class QaHostileTest : public ::testing::Test {
 protected:
  QaHostileTest() : model_(scratch_ / "float"), squad_(scratch_ / "tiny.json"), output_(scratch_ / "out") {
    float_model_ = testing::save_tiny_model(model_);
    testing::write_tiny_squad(squad_, 16);
  }

  std::vector<std::string> calibration(const std::string& output) const {
    return {"qa",           "--model_name_or_path",
            model_,         "--train_file",
            squad_,         "--max_seq_length",
            "128",          "--doc_stride",
            "32",           "--do_calib",
            "--output_dir", output,
            "--threads",    "1"};
  }

  /// One sentence that says this, and exit code 2.
  void expect_refused(const std::vector<std::string>& words, const std::string& says) const {
    const CommandResult result = run_command(words);
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr(says));
    EXPECT_EQ(result.err.find("qdqbert: "), result.err.rfind("qdqbert: ")) << result.err;
  }

  static std::set<std::string> files_of(const fs::path& directory) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory))
      names.insert(entry.path().filename().string());
    return names;
  }

  ScratchDirectory scratch_;
  std::string model_, squad_, output_;
  std::shared_ptr<model::PreTrainedModel> float_model_;
};

TEST_F(QaHostileTest, WrongFlags) {
  const auto with = [&](std::vector<std::string> flags) {
    std::vector<std::string> words = calibration(output_);
    words.insert(words.end(), flags.begin(), flags.end());
    return words;
  };
  expect_refused(with({"--push_to_hub"}), "uploading is not done");
  expect_refused(with({"--use_auth_token"}), "does not go online");
  expect_refused(with({"--calibrator", "percentile"}), "percentile");
  expect_refused(with({"--calibrator", "best"}), "max, percentile, mse, entropy");
  expect_refused(with({"--quant-disable-keyword", "("}), "regular expression");
  expect_refused(with({"--opset", "9"}), "13 to 17");
  expect_refused(with({"--device", "gpu"}), "none of auto, cpu, cuda and cuda:N");
  expect_refused(with({"--device", "cuda:99"}), "[device] cuda:99");
  expect_refused(with({"--doc_strid", "x"}), "needs an integer");
  expect_refused(with({"--no_such_flag"}), "no_such_flag");
  expect_refused({"qa", "--model_name_or_path", "model.ckpt.index", "--output_dir", output_, "--do_eval",
                  "--dataset_name", "squad"},
                 "TensorFlow");
  expect_refused({"qa", "--model_name_or_path", model_, "--output_dir", output_}, "nothing to do");
  expect_refused({"qa", "--model_name_or_path", model_, "--output_dir", output_, "--do_calib"}, "data");
  expect_refused({"qa", "--model_name_or_path", "no/such-model", "--output_dir", output_, "--do_calib",
                  "--train_file", squad_},
                 "no/such-model");
}

TEST_F(QaHostileTest, OutputThatCannotBeWritten) {
  write_file(scratch_ / "file", "text");
  expect_refused(calibration(scratch_ / "file"), "file");
  expect_refused(calibration("/proc/no-place"), "/proc/no-place");
}

TEST_F(QaHostileTest, CheckpointOfAnotherSize) {
  io::BertConfig config = testing::tiny_config();
  config.intermediate_size = 48;
  io::write_config(fs::path(model_) / "config.json", config);
  expect_refused(calibration(output_), "has the shape");
}

TEST_F(QaHostileTest, NaNInTheDataIsNamed) {
  const at::NoGradGuard no_grad;
  float_model_->named_parameters()["bert.encoder.layer.1.attention.output.dense.weight"][0][0] = NAN;
  model::save_model(*float_model_, model_);
  const CommandResult result = run_command(calibration(output_));
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("encoder.layer.1.attention.output.dense.weight"));
  EXPECT_THAT(result.err, HasSubstr("nan"));
  EXPECT_TRUE(files_of(output_).empty());
}

TEST_F(QaHostileTest, BadData) {
  for (const char* text : {"", "{\"data\": []}", "{\"data\": [{\"paragraphs\": 3}]}", "[1, 2"}) {
    write_file(squad_, text);
    expect_refused(calibration(output_), "tiny.json");
  }
}

// A full disk: what was there before survives, and no temporary file stays.
TEST_F(QaHostileTest, FullDisk) {
  ASSERT_EQ(run_command(calibration(output_)).code, 0);
  const std::set<std::string> before = files_of(output_);
  const std::string weights = read_file(fs::path(output_) / "model.safetensors");
  testing::CommandOptions options;
  options.file_size_limit = 100'000;
  std::vector<std::string> words = calibration(output_);
  words.insert(words.end(), {"--calibrator", "mse"});
  const CommandResult result = run_command(words, options);
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_THAT(result.err, HasSubstr("what was there before is unchanged"));
  EXPECT_EQ(files_of(output_), before);
  EXPECT_EQ(read_file(fs::path(output_) / "model.safetensors"), weights);
}

TEST_F(QaHostileTest, InterruptedRunLeavesNothingHalfWritten) {
  testing::CommandOptions options;
  options.interrupt_at = "calibrating";
  const CommandResult result =
      run_command({"qa", "--model_name_or_path", testing::kShippedModel.string(), "--train_file",
                   (testing::kShippedModel / "calibration-128.json").string(), "--do_calib", "--output_dir",
                   output_, "--threads", "1"},
                  options);
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_THAT(result.err, HasSubstr("interrupted"));
  EXPECT_TRUE(files_of(output_).empty());
}

}  // namespace
}  // namespace qdqbert
