// Several processes that a launcher has started, as a person sees them.
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qdqbert/io/safetensors.h"

#include "tests/e2e/command.h"
#include "tests/e2e/tiny_model.h"
#include "tests/support/free_port.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;
using testing::CommandOptions;
using testing::CommandResult;
using ::testing::HasSubstr;
using testing::run_command;
using testing::ScratchDirectory;
using Words = std::vector<std::string>;

/// One command a rank, with the variables of torchrun.
std::vector<CommandResult> run_ranks(const std::vector<Words>& commands,
                                     const std::vector<CommandOptions>& options = {}) {
  const std::string port = std::to_string(testing::free_port());
  std::vector<CommandResult> results(commands.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < commands.size(); ++rank)
    threads.emplace_back([&, rank] {
      CommandOptions own = rank < options.size() ? options[rank] : CommandOptions{};
      own.environment = {{"RANK", std::to_string(rank)},
                         {"WORLD_SIZE", std::to_string(commands.size())},
                         {"MASTER_ADDR", "127.0.0.1"},
                         {"MASTER_PORT", port}};
      results[rank] = run_command(commands[rank], own);
    });
  for (std::thread& thread : threads) thread.join();
  return results;
}

class ProcessesTest : public ::testing::Test {
 protected:
  ProcessesTest() : model_(scratch_ / "float"), squad_(scratch_ / "tiny.json") {
    testing::save_tiny_model(model_);
    testing::write_tiny_squad(squad_, 40);
  }
  Words words(const std::string& model, const std::string& output, const Words& flags) const {
    Words all = {"qa",   "--model_name_or_path", model, "--output_dir", output, "--max_seq_length",
                 "128",  "--doc_stride",         "32",  "--threads",    "1",    "--train_file",
                 squad_, "--validation_file",    squad_};
    all.insert(all.end(), flags.begin(), flags.end());
    return all;
  }
  static std::map<std::string, std::vector<float>> tensors_of(const fs::path& directory) {
    std::map<std::string, std::vector<float>> tensors;
    const auto file = io::SafetensorsFile::open(directory / "model.safetensors");
    for (const io::NamedTensor& item : file.tensors()) tensors[item.name] = to_float32(item.tensor);
    return tensors;
  }

  ScratchDirectory scratch_;
  std::string model_, squad_;
};

// Ranges, answers and scores of two processes have the bits of one.
TEST_F(ProcessesTest, CalibrationAndEvaluationAreThoseOfOneProcess) {
  const Words flags = {"--do_calib",
                       "--do_eval",
                       "--calibrator",
                       "percentile",
                       "--percentile",
                       "99.9",
                       "--per_device_eval_batch_size",
                       "3",
                       "--num_calib_samples",
                       "20"};
  const CommandResult one = run_command(words(model_, scratch_ / "one", flags));
  ASSERT_EQ(one.code, 0) << one.err;
  const Words two = words(model_, scratch_ / "two", flags);
  const auto results = run_ranks({two, two});
  ASSERT_EQ(results[0].code, 0) << results[0].err;
  ASSERT_EQ(results[1].code, 0) << results[1].err;
  EXPECT_EQ(tensors_of(scratch_ / "one"), tensors_of(scratch_ / "two"));
  for (const char* name : {"eval_predictions.json", "eval_nbest_predictions.json", "eval_results.json"})
    EXPECT_EQ(read_file(scratch_ / "one" + std::string("/") + name),
              read_file(scratch_ / "two" + std::string("/") + name));
  EXPECT_THAT(results[0].err, HasSubstr("2 processes, 1 threads each"));
  EXPECT_EQ(results[1].out, "") << "rank 0 alone speaks";
  EXPECT_EQ(results[1].err, "");
}

TEST_F(ProcessesTest, EmbeddingsAreThoseOfOneProcess) {
  std::string texts;
  for (int i = 0; i < 11; ++i) texts += "What is number " + std::to_string(i) + "?\n";
  const std::string file = scratch_ / "texts.txt";
  write_file(file, texts);
  const auto command = [&](const std::string& output) {
    return Words{"embed",
                 "--model_name_or_path",
                 model_,
                 "--output_dir",
                 scratch_ / output,
                 "--threads",
                 "1",
                 "--do_calib",
                 "--train_file",
                 file,
                 "--do_predict",
                 "--test_file",
                 file,
                 "--per_device_eval_batch_size",
                 "3"};
  };
  const CommandResult one = run_command(command("one"));
  ASSERT_EQ(one.code, 0) << one.err;
  for (const CommandResult& rank : run_ranks({command("two"), command("two")}))
    ASSERT_EQ(rank.code, 0) << rank.err;
  const std::string expected = read_file(scratch_ / "one/predict_embeddings.jsonl");
  EXPECT_GT(expected.size(), 1000U);
  EXPECT_EQ(read_file(scratch_ / "two/predict_embeddings.jsonl"), expected);
}

TEST_F(ProcessesTest, TrainingStepsAreThoseOfTheSameGlobalBatch) {
  const Words flags = {"--quant-disable",
                       "--do_train",
                       "--disable-dropout",
                       "--learning_rate",
                       "1e-3",
                       "--num_train_epochs",
                       "2",
                       "--logging_steps",
                       "1",
                       "--save_steps",
                       "4"};
  const auto with_batch = [&](const std::string& output, const char* batch) {
    Words all = words(model_, output, flags);
    all.insert(all.end(), {"--per_device_train_batch_size", batch});
    return all;
  };
  const CommandResult one = run_command(with_batch(scratch_ / "one", "8"));
  ASSERT_EQ(one.code, 0) << one.err;
  const Words two = with_batch(scratch_ / "two", "4");
  const auto results = run_ranks({two, two});
  ASSERT_EQ(results[0].code, 0) << results[0].err;
  ASSERT_EQ(results[1].code, 0) << results[1].err;
  const Json ours = read_json(fs::path(scratch_ / "two") / "trainer_state.json").at("log_history"),
             theirs = read_json(fs::path(scratch_ / "one") / "trainer_state.json").at("log_history");
  ASSERT_EQ(ours.size(), theirs.size());
  ASSERT_GT(ours.size(), 5U);
  for (size_t i = 0; i + 1 < ours.size(); ++i)
    EXPECT_NEAR(ours[i].at("grad_norm").get<double>(), theirs[i].at("grad_norm").get<double>(),
                // Adam amplifies rounding of the first gradients;
                // the first step is compared at the rounding of float32 sums.
                (i == 0 ? 1e-5 : 1e-2) * theirs[i].at("grad_norm").get<double>())
        << "step " << i + 1;
  EXPECT_TRUE(fs::exists(fs::path(scratch_ / "two") / "checkpoint-4" / "model.safetensors"));
}

TEST_F(ProcessesTest, RanksWithOtherFlagsOrDataAreNamed) {
  const Words a = words(model_, scratch_ / "out", {"--do_train", "--seed", "1"}),
              b = words(model_, scratch_ / "out", {"--do_train", "--seed", "2"});
  for (const CommandResult& result : run_ranks({a, b})) {
    EXPECT_EQ(result.code, 2);
    EXPECT_THAT(result.err, HasSubstr("rank 1 has other flags than rank 0"));
  }
}

// A rank that is killed: the other one says so, ends, and what it leaves can be gone on from.
TEST_F(ProcessesTest, ALostRankEndsTheJobWithACheckpoint) {
  const Words flags = words(model_, scratch_ / "out",
                            {"--do_train", "--quant-disable", "--num_train_epochs", "2000", "--save_steps",
                             "5", "--save_total_limit", "1", "--per_device_train_batch_size", "2"});
  const std::string port = std::to_string(testing::free_port());
  const auto environment = [&](const char* rank) {
    return std::map<std::string, std::string>{
        {"RANK", rank}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", port}};
  };
  const pid_t lost = ::fork();
  if (lost == 0) {
    for (const auto& [name, value] : environment("1")) ::setenv(name.c_str(), value.c_str(), 1);
    std::string program = testing::command_path().string();
    std::vector<char*> argv = {program.data()};
    for (const std::string& word : flags) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  std::thread killer([&] {
    const fs::path output = scratch_ / "out";
    const auto has_checkpoint = [&] {
      std::error_code ignored;
      for (const auto& entry : fs::directory_iterator(output, ignored))
        if (entry.path().filename().string().starts_with("checkpoint-")) return true;
      return false;
    };
    for (int i = 0; i < 3000 && !has_checkpoint(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ::kill(lost, SIGKILL);
  });
  CommandOptions first_rank;
  first_rank.environment = environment("0");
  const CommandResult survivor = run_command(flags, first_rank);
  killer.join();
  ::waitpid(lost, nullptr, 0);
  EXPECT_EQ(survivor.code, 1) << survivor.err;
  EXPECT_THAT(survivor.err, HasSubstr("another rank is gone"));
  EXPECT_THAT(survivor.err, HasSubstr("goes on from there"));
  // One process cannot go on with what two began, and says so.
  const CommandResult alone = run_command(flags);
  EXPECT_EQ(alone.code, 2);
  EXPECT_THAT(alone.err, HasSubstr("was made with processes 2, now it is 1"));
}

}  // namespace
}  // namespace qdqbert
