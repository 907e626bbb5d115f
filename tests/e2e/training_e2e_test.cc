// Training as a person runs it: the documented scenarios, resuming after kills,
// distillation, guard rails, bad input.
#include <cstdlib>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/file.h"
#include "qdqbert/io/safetensors.h"

#include "tests/e2e/command.h"
#include "tests/e2e/tiny_model.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;
using testing::CommandOptions;
using testing::CommandResult;
using ::testing::HasSubstr;
using testing::run_command;
using testing::ScratchDirectory;
using Words = std::vector<std::string>;

class TrainingTest : public ::testing::Test {
 protected:
  TrainingTest() : model_(scratch_ / "float"), squad_(scratch_ / "tiny.json") {
    testing::save_tiny_model(model_);
    testing::write_tiny_squad(squad_, 40);
  }

  Words words(const std::string& model, const std::string& output, const Words& flags) const {
    Words all = {"qa",  "--model_name_or_path", model, "--output_dir", output, "--max_seq_length",
                 "128", "--doc_stride",         "32",  "--threads",    "2"};
    all.insert(all.end(), flags.begin(), flags.end());
    return all;
  }
  CommandResult train(const std::string& model, const std::string& output, Words flags,
                      const CommandOptions& options = {}) const {
    flags.insert(flags.end(), {"--do_train", "--train_file", squad_, "--validation_file", squad_});
    return run_command(words(model, output, flags), options);
  }
  /// The same, which must succeed.
  CommandResult trained(const std::string& model, const std::string& output, const Words& flags) const {
    const CommandResult result = train(model, output, flags);
    EXPECT_EQ(result.code, 0) << result.err;
    return result;
  }
  std::string calibrated() const {
    const CommandResult result = run_command(
        words(model_, scratch_ / "calib",
              {"--do_calib", "--calibrator", "percentile", "--percentile", "99.99", "--train_file", squad_}));
    EXPECT_EQ(result.code, 0) << result.err;
    return scratch_ / "calib";
  }

  static std::map<std::string, std::vector<float>> tensors_of(const std::string& directory,
                                                              const std::string& tail) {
    std::map<std::string, std::vector<float>> tensors;
    const auto file = io::SafetensorsFile::open(fs::path(directory) / "model.safetensors");
    for (const io::NamedTensor& item : file.tensors())
      if (item.name.ends_with(tail)) tensors[item.name] = to_float32(item.tensor);
    return tensors;
  }
  static std::vector<double> losses_of(const std::string& directory) {
    std::vector<double> losses;
    const Json state = read_json(fs::path(directory) / "trainer_state.json");
    for (const Json& entry : state.at("log_history"))
      if (entry.contains("loss")) losses.push_back(entry.at("loss"));
    return losses;
  }
  static int checkpoints_in(const std::string& directory) {
    int count = 0;
    for (const auto& entry : fs::directory_iterator(directory))
      count += entry.path().filename().string().starts_with("checkpoint-") ? 1 : 0;
    return count;
  }
  /// Everything of a run that time does not change.
  static std::string traces_of(const std::string& directory) {
    Json state = read_json(fs::path(directory) / "trainer_state.json");
    for (Json& entry : state["log_history"])
      for (const char* key : {"train_runtime", "train_samples_per_second", "train_steps_per_second"})
        entry.erase(key);
    return dump_json(state);
  }
  static std::string bytes_of(const std::string& directory) {
    return read_file(fs::path(directory) / "model.safetensors");
  }

  ScratchDirectory scratch_;
  std::string model_, squad_;
};

// S15: batch 12, learning rate for a tiny model, 2 epochs, no checkpoints:
// the loss falls, ranges stay, result files.
TEST_F(TrainingTest, S15_QuantizationAwareTraining) {
  const std::string calib = calibrated(), output = scratch_ / "qat";
  const CommandResult result = trained(
      calib, output,
      {"--do_eval", "--per_device_train_batch_size", "12", "--learning_rate", "2e-3", "--num_train_epochs",
       "2", "--tokenizer_name", model_, "--save_steps", "0", "--logging_steps", "1"});
  EXPECT_THAT(result.out, HasSubstr("***** train metrics *****"));
  EXPECT_THAT(result.out, HasSubstr("***** eval metrics *****"));
  EXPECT_THAT(result.err, HasSubstr("--learning_rate 0.002 is one for fine-tuning"));
  for (const char* name :
       {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "quantization.json",
        "training_args.json", "train_results.json", "eval_results.json", "all_results.json",
        "trainer_state.json", "eval_predictions.json"})
    EXPECT_TRUE(fs::exists(fs::path(output) / name)) << name;
  EXPECT_EQ(checkpoints_in(output), 0);
  const std::vector<double> losses = losses_of(output);
  const int64_t steps = read_json(fs::path(output) / "trainer_state.json").at("global_step");
  ASSERT_EQ(static_cast<int64_t>(losses.size()), steps);
  EXPECT_LT(losses.back(), losses.front() - 0.3);
  const auto before = tensors_of(calib, "._amax"), after = tensors_of(output, "._amax");
  EXPECT_FALSE(before.empty());
  EXPECT_EQ(before, after);
  EXPECT_NE(tensors_of(calib, "query.weight"), tensors_of(output, "query.weight"));
  const Json results = read_json(fs::path(output) / "all_results.json");
  for (const char* key : {"epoch", "train_loss", "train_runtime", "train_samples", "train_samples_per_second",
                          "train_steps_per_second", "eval_f1", "eval_exact_match"})
    EXPECT_TRUE(results.contains(key)) << key;
  EXPECT_EQ(results.at("epoch"), 2.0);
  const std::string page = read_file(fs::path(output) / "training_report.html");
  for (const char* part :
       {"<svg", "Loss", "Learning rate", "matmul_a_input_quantizer", "clipped after", "--learning_rate 2e-3"})
    EXPECT_THAT(page, HasSubstr(part));
  int event_files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(output) / "runs"))
    if (entry.is_regular_file()) {
      ++event_files;
      EXPECT_THAT(read_file(entry.path()), HasSubstr("train/learning_rate"));
    }
  EXPECT_EQ(event_files, 1);
  const Json quantization = read_json(fs::path(output) / "quantization.json");
  EXPECT_EQ(quantization.at("calibration").at("method"), "percentile");
  EXPECT_EQ(quantization.at("training").at("learning_rate"), 2e-3);
}

// S21: fine-tuning in float, for comparison: no ranges come into the directory,
// and none are needed to export it.
TEST_F(TrainingTest, S21_FloatFineTuning) {
  const std::string output = scratch_ / "float_tuned";
  const CommandResult result =
      trained(model_, output,
              {"--quant-disable", "--do_eval", "--save_onnx", "--learning_rate", "2e-3", "--num_train_epochs",
               "2", "--save_steps", "0", "--logging_strategy", "epoch"});
  EXPECT_THAT(result.err, ::testing::Not(HasSubstr("is one for fine-tuning")));
  const std::vector<double> losses = losses_of(output);
  ASSERT_EQ(losses.size(), 2u);
  EXPECT_LT(losses[1], losses[0]);
  EXPECT_TRUE(tensors_of(output, "._amax").empty());
  EXPECT_FALSE(fs::exists(fs::path(output) / "quantization.json"));
  EXPECT_THAT(result.out, HasSubstr("0 Q/DQ pairs"));
}

// S26: half precision: on a CPU the command says what it does instead, trains and exports.
TEST_F(TrainingTest, S26_HalfPrecision) {
  const std::string output = scratch_ / "half";
  const CommandResult result =
      trained(model_, output,
              {"--fp16", "--quant-disable", "--save_onnx", "--learning_rate", "2e-3", "--num_train_epochs",
               "2", "--save_steps", "0", "--logging_strategy", "epoch"});
  EXPECT_THAT(result.err, HasSubstr("BF16"));
  const std::vector<double> losses = losses_of(output);
  EXPECT_LT(losses.at(1), losses.at(0));
  EXPECT_TRUE(fs::exists(fs::path(output) / "model.onnx"));
  EXPECT_EQ(train(model_, scratch_ / "both", {"--fp16", "--bf16"}).code, 2);
}

// Killed at random moments and started again with the same command, a run ends with the same bits.
TEST_F(TrainingTest, KilledRunsGoOn) {
  const char* asked = std::getenv("QDQBERT_KILLS");
  const int kills = asked ? std::atoi(asked) : 3;
  const std::string calib = calibrated(), whole = scratch_ / "whole", broken = scratch_ / "broken";
  const Words flags = {"--per_device_train_batch_size",
                       "4",
                       "--gradient_accumulation_steps",
                       "2",
                       "--learning_rate",
                       "1e-3",
                       "--num_train_epochs",
                       "6",
                       "--save_steps",
                       "3",
                       "--save_total_limit",
                       "2",
                       "--logging_steps",
                       "1",
                       "--evaluation_strategy",
                       "steps",
                       "--eval_steps",
                       "15",
                       "--warmup_ratio",
                       "0.1"};
  const CommandResult reference = trained(calib, whole, flags);
  std::mt19937 random(20240);
  int done = 0, resumed = 0;
  CommandResult result;
  for (int run = 0; run < 40 * kills; ++run) {
    CommandOptions options;
    if (done < kills) {
      options.kill_at = "Training on";
      options.kill_delay = std::uniform_real_distribution<double>(0, 0.5 * reference.seconds)(random);
    }
    result = train(calib, broken, flags, options);
    resumed += result.err.find("Resuming from") != std::string::npos ? 1 : 0;
    if (result.code == 0 && done >= kills) break;
    if (result.code == 0) {
      fs::remove_all(broken);  // it was faster than the kill: once more from the beginning
      continue;
    }
    ASSERT_EQ(result.code, 128 + 9) << result.err;
    ++done;
  }
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(done, kills);
  EXPECT_GT(resumed, 0);
  EXPECT_EQ(traces_of(whole), traces_of(broken));
  EXPECT_TRUE(bytes_of(whole) == bytes_of(broken)) << "weights differ";
}

// What a kill before the first checkpoint leaves behind does not stand in the way of
// the same command; files of others do.
TEST_F(TrainingTest, KilledBeforeTheFirstCheckpointBeginsAnew) {
  const fs::path output = fs::path(scratch_.path()) / "early";
  fs::create_directories(output / "runs");
  write_file(output / "runs/events.out.tfevents.1", "x");
  const Words flags = {"--quant-disable", "--max_steps", "1"};
  const CommandResult again = train(model_, output, flags);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("ended before its first checkpoint"));

  const fs::path others = fs::path(scratch_.path()) / "others";
  fs::create_directories(others / "runs");
  write_file(others / "thesis.txt", "x");
  EXPECT_EQ(train(model_, others, flags).code, 2);
}

TEST_F(TrainingTest, InterruptLeavesACheckpoint) {
  const Words flags = {"--quant-disable",
                       "--learning_rate",
                       "1e-3",
                       "--num_train_epochs",
                       "6",
                       "--save_steps",
                       "0",
                       "--logging_steps",
                       "1"};
  const std::string whole = scratch_ / "whole", output = scratch_ / "stopped";
  trained(model_, whole, flags);
  CommandOptions options;
  options.interrupt_at = "step 3/";
  const CommandResult stopped = train(model_, output, flags, options);
  EXPECT_EQ(stopped.code, 1) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("the same command"));
  ASSERT_EQ(checkpoints_in(output), 1);
  const CommandResult rest = trained(model_, output, flags);
  EXPECT_THAT(rest.err, HasSubstr("Resuming from"));
  EXPECT_EQ(traces_of(whole), traces_of(output));
  EXPECT_TRUE(bytes_of(whole) == bytes_of(output)) << "weights differ";
}

// Stopped while it evaluates, a run evaluates that step when it goes on.
TEST_F(TrainingTest, InterruptedEvaluationIsMadeUpFor) {
  const Words flags = {"--quant-disable",
                       "--learning_rate",
                       "1e-3",
                       "--max_steps",
                       "8",
                       "--save_steps",
                       "0",
                       "--evaluation_strategy",
                       "steps",
                       "--eval_steps",
                       "4",
                       "--per_device_eval_batch_size",
                       "1"};
  const std::string whole = scratch_ / "whole", output = scratch_ / "stopped";
  trained(model_, whole, flags);
  CommandOptions options;
  options.interrupt_at = "evaluating";
  EXPECT_EQ(train(model_, output, flags, options).code, 1);
  ASSERT_TRUE(fs::exists(fs::path(output) / "checkpoint-4"));
  EXPECT_TRUE(read_json(fs::path(output) / "checkpoint-4/resume.json").at("evaluation_due").get<bool>());
  trained(model_, output, flags);
  EXPECT_EQ(traces_of(whole), traces_of(output));
}

TEST_F(TrainingTest, LearnedRangesAreResumed) {
  const std::string calib = calibrated(), whole = scratch_ / "whole", output = scratch_ / "stopped";
  const Words flags = {
      "--learn-amax", "--freeze_amax_after", "0.7", "--learning_rate", "1e-3", "--max_steps",
      "12",           "--save_steps",        "0",   "--logging_steps", "1",    "--pad_to_max_length",
      "false",        "--group_by_length"};
  trained(calib, whole, flags);
  CommandOptions options;
  options.interrupt_at = "step 3/";
  EXPECT_EQ(train(calib, output, flags, options).code, 1);
  ASSERT_EQ(checkpoints_in(output), 1);
  for (const auto& entry : fs::directory_iterator(output)) {
    if (!entry.path().filename().string().starts_with("checkpoint-")) continue;
    EXPECT_NE(tensors_of(calib, "query._input_quantizer._amax"),
              tensors_of(entry.path(), "query._input_quantizer._amax"))
        << "as a model a checkpoint has the ranges learned so far";
  }
  trained(calib, output, flags);
  EXPECT_EQ(traces_of(whole), traces_of(output));
  EXPECT_TRUE(bytes_of(whole) == bytes_of(output)) << "weights or ranges differ";
}

TEST_F(TrainingTest, BestModelAndEarlyStopping) {
  const std::string output = scratch_ / "best";
  const Words flags = {"--quant-disable",
                       "--learning_rate",
                       "1e-3",
                       "--num_train_epochs",
                       "10",
                       "--evaluation_strategy",
                       "epoch",
                       "--save_strategy",
                       "epoch",
                       "--load_best_model_at_end",
                       "--early_stopping_patience",
                       "1",
                       "--early_stopping_threshold",
                       "1000",
                       "--save_total_limit",
                       "1"};
  const CommandResult result = trained(model_, output, flags);
  // Nothing gets better by 1000 points: the second evaluation ends the run.
  EXPECT_THAT(result.err, HasSubstr("training ends early"));
  const Json state = read_json(fs::path(output) / "trainer_state.json");
  EXPECT_EQ(state.at("epoch"), 2.0);
  double best = -1;
  for (const Json& entry : state.at("log_history"))
    if (entry.contains("eval_f1")) best = std::max(best, entry.at("eval_f1").get<double>());
  EXPECT_EQ(state.at("best_metric"), best);
  EXPECT_EQ(read_json(fs::path(output) / "eval_results.json").at("eval_f1"), best);
  EXPECT_GE(checkpoints_in(output), 1);
}

TEST_F(TrainingTest, ThreadsDoNotChangeTheResult) {
  const std::string calib = calibrated();
  const Words flags = {"--learning_rate", "1e-3", "--max_steps",  "12",
                       "--logging_steps", "1",    "--save_steps", "0"};
  Words one = flags;
  one.insert(one.end(), {"--threads", "1"});
  trained(calib, scratch_ / "two", flags);
  trained(calib, scratch_ / "one", one);
  EXPECT_EQ(traces_of(scratch_ / "two"), traces_of(scratch_ / "one"));
  EXPECT_TRUE(bytes_of(scratch_ / "two") == bytes_of(scratch_ / "one")) << "weights differ";
}

TEST_F(TrainingTest, DistillationWithQuantization) {
  const std::string calib = calibrated(), teacher = scratch_ / "teacher", output = scratch_ / "student";
  trained(model_, teacher,
          {"--quant-disable", "--learning_rate", "2e-3", "--num_train_epochs", "3", "--save_steps", "0"});
  const CommandResult result =
      trained(calib, output,
              {"--teacher", teacher, "--distill_alpha", "0.9", "--teacher_temperature", "2",
               "--distill_hidden", "0.5", "--distill_attention", "0.5", "--learning_rate", "2e-3",
               "--num_train_epochs", "3", "--save_steps", "0", "--logging_strategy", "epoch"});
  EXPECT_THAT(result.err, HasSubstr("layers 0:0 1:1"));
  const std::vector<double> losses = losses_of(output);
  EXPECT_LT(losses.back(), losses.front());
  EXPECT_EQ(tensors_of(calib, "._amax"), tensors_of(output, "._amax"));
}

TEST_F(TrainingTest, LearnedRanges) {
  const std::string calib = calibrated(), output = scratch_ / "learned";
  trained(calib, output,
          {"--learn-amax", "--freeze_amax_after", "0.5", "--do_eval", "--save_onnx", "--learning_rate",
           "2e-3", "--max_steps", "10", "--save_steps", "0"});
  const auto before = tensors_of(calib, "query._input_quantizer._amax"),
             after = tensors_of(output, "query._input_quantizer._amax");
  ASSERT_EQ(before.size(), after.size());
  EXPECT_NE(before, after);
  EXPECT_EQ(tensors_of(calib, "query._weight_quantizer._amax"),
            tensors_of(output, "query._weight_quantizer._amax"));
  EXPECT_TRUE(tensors_of(output, "clip_value_max").empty());
  EXPECT_TRUE(fs::exists(fs::path(output) / "model.onnx"));
}

// Each flag pair or file is refused with a sentence that names it, before anything is trained.
TEST_F(TrainingTest, BadInput) {
  const auto refused = [&](const Words& flags, const std::string& sentence) {
    const CommandResult result = train(model_, scratch_ / "refused", flags);
    EXPECT_EQ(result.code, 2) << sentence << "\n" << result.err;
    EXPECT_THAT(result.err, HasSubstr(sentence));
  };
  refused({"--load_best_model_at_end"}, "--evaluation_strategy");
  refused({"--load_best_model_at_end", "--evaluation_strategy", "epoch"}, "must be the same");
  refused({"--load_best_model_at_end", "--evaluation_strategy", "steps", "--eval_steps", "7", "--save_steps",
           "20"},
          "multiple of --eval_steps 7");
  refused({"--learning_rate", "0"}, "[learning_rate]");
  refused({"--gradient_accumulation_steps", "0"}, "[gradient_accumulation_steps]");
  refused({"--max_steps", "0"}, "[max_steps]");
  refused({"--label_smoothing_factor", "1"}, "[label_smoothing_factor]");
  refused({"--lr_scheduler_type", "zigzag"}, "zigzag");
  refused({"--distill_alpha", "0.5"}, "--teacher");
  refused({"--freeze_amax_after", "0.5"}, "--learn-amax");
  refused({"--fp64"}, "--do_train");
  refused({"--learn-amax", "--quant-disable"}, "exclude each other");
  refused({"--freeze", "."}, "every parameter is frozen");
  refused({"--per_device_train_batch_size", "4000", "--dataloader_drop_last"}, "--dataloader_drop_last");
  refused({"--teacher", scratch_ / "nobody"}, "nobody");
  refused({"--resume_from_checkpoint", scratch_ / "nothing"}, "[resume_from_checkpoint]");

  // A teacher with another vocabulary.
  const std::string teacher = scratch_ / "other_words";
  fs::copy(model_, teacher);
  std::string vocabulary = read_file(fs::path(teacher) / "vocab.txt");
  fs::remove(fs::path(teacher) / "tokenizer.json");
  const size_t word = vocabulary.find("\nhouse\n");
  ASSERT_NE(word, std::string::npos);
  write_file(fs::path(teacher) / "vocab.txt", vocabulary.replace(word, 7, "\nmansion2\n"));
  refused({"--teacher", teacher}, "another vocabulary");

  // Questions without answers.
  Json squad = read_json(squad_);
  for (Json& article : squad["data"])
    for (Json& paragraph : article["paragraphs"])
      for (Json& question : paragraph["qas"]) question["answers"] = Json::array();
  const std::string silent = scratch_ / "silent.json";
  write_file(silent, dump_json(squad));
  const CommandResult result =
      run_command(words(model_, scratch_ / "refused", {"--do_train", "--train_file", silent}));
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("has an answer to learn"));
}

TEST_F(TrainingTest, DirectoriesThatAreInTheWay) {
  const std::string output = scratch_ / "output";
  const Words flags = {"--quant-disable", "--max_steps", "4", "--save_steps", "2", "--logging_steps", "1"};
  fs::create_directories(output);
  write_file(fs::path(output) / "notes.txt", "mine");
  CommandResult result = train(model_, output, flags);
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("--overwrite_output_dir"));
  Words over = flags;
  over.push_back("--overwrite_output_dir");
  trained(model_, output, over);
  EXPECT_EQ(checkpoints_in(output), 2);

  // Half-written: without its last file, and with weights cut short. The one before is taken.
  fs::remove(fs::path(output) / "checkpoint-4/resume.json");
  Words longer = {"--quant-disable", "--max_steps", "6", "--save_steps", "0", "--logging_steps", "1"};
  result = trained(model_, output, longer);
  EXPECT_THAT(result.err, HasSubstr("checkpoint-4 is ignored: resume.json is missing"));
  EXPECT_THAT(result.err, HasSubstr("step 2 of 6"));
  fs::resize_file(fs::path(output) / "checkpoint-2/model.safetensors", 1000);
  result = train(model_, output, longer);
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("checkpoint-2 is ignored"));

  // Another seed is another order of samples: nothing that could be gone on with.
  const std::string seeded = scratch_ / "seeded";
  trained(model_, seeded, flags);
  result = train(model_, seeded, {"--quant-disable", "--max_steps", "6", "--seed", "7"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("seed 42, now it is 7"));
}

TEST_F(TrainingTest, FullDiskKeepsTheLastCheckpoint) {
  const std::string output = scratch_ / "full";
  const Words flags = {"--quant-disable", "--max_steps", "4", "--save_steps", "2"};
  trained(model_, output, {"--quant-disable", "--max_steps", "4", "--save_steps", "2"});
  const std::string before = bytes_of(output + "/checkpoint-2");
  fs::remove_all(fs::path(output) / "checkpoint-4");
  CommandOptions options;
  options.file_size_limit = 10000;
  const CommandResult result = train(model_, output, flags, options);
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_THAT(result.err, HasSubstr("failed"));
  EXPECT_EQ(checkpoints_in(output), 1);
  for (const auto& entry : fs::directory_iterator(output))
    EXPECT_FALSE(entry.path().filename().string().starts_with(".")) << entry.path();
  EXPECT_TRUE(before == bytes_of(output + "/checkpoint-2"));
}

TEST_F(TrainingTest, LossThatIsNoNumberEndsTheRun) {
  const std::string output = scratch_ / "burst";
  const CommandResult result = train(model_, output,
                                     {"--quant-disable", "--learning_rate", "1e30", "--warmup_steps", "0",
                                      "--max_steps", "20", "--save_steps", "1", "--max_grad_norm", "0"});
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_THAT(result.err, HasSubstr("[training] step 2: the "));
  EXPECT_THAT(result.err, HasSubstr("checkpoint-1"));
  const auto batch = io::SafetensorsFile::open(fs::path(output) / "failed-batch-step-2.safetensors");
  EXPECT_NE(batch.find("input_ids"), nullptr);
  EXPECT_NE(batch.find("start_positions"), nullptr);
}

TEST_F(TrainingTest, GuessingAndMissingRangesAreSaid) {
  // Weights that do not move guess for ever; the model has never been calibrated.
  const CommandResult result = trained(model_, scratch_ / "guess",
                                       {"--learning_rate", "1e-12", "--max_steps", "60", "--logging_steps",
                                        "30", "--save_steps", "0", "--per_device_train_batch_size", "2"});
  EXPECT_THAT(result.err, HasSubstr("that of a model that guesses"));
  EXPECT_THAT(result.err, HasSubstr("none of the 40 quantizers has a range"));
}

}  // namespace
}  // namespace qdqbert
