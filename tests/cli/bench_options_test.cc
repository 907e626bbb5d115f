// `qdqbert bench` in its own words and in those of trtexec.
#include "cli/bench_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"

namespace qdqbert::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

BenchOptions parsed(const Arguments& arguments, std::vector<std::string>* log = nullptr) {
  LogSink before = set_log_sink([&](LogLevel, std::string_view line) {
    if (log) log->emplace_back(line);
  });
  std::optional<BenchOptions> options = parse_bench(arguments);
  set_log_sink(std::move(before));
  return std::move(*options);
}

std::string error_of(const Arguments& arguments) {
  try {
    parse_bench(arguments);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

TEST(BenchOptionsTest, TheNamesThatScriptsRelyOn) {
  const BenchOptions o =
      parsed({"m.onnx", "--batch",     "8",    "--seq",     "384",    "--threads", "2",    "--seconds",
              "5",      "--isa",       "ref",  "--streams", "3",      "--warmup",  "0.25", "--lengths",
              "mixed",  "--precision", "bf16", "--profile", "--json", "out.json"});
  EXPECT_EQ(o.model, "m.onnx");
  EXPECT_EQ(o.batch, 8);
  EXPECT_EQ(o.seq, 384);
  EXPECT_EQ(o.seconds, 5);
  EXPECT_EQ(o.warmup, 0.25);
  EXPECT_EQ(o.lengths, "mixed");
  EXPECT_TRUE(o.profile);
  EXPECT_EQ(o.json, "out.json");
  const engine::SessionOptions session = o.engine.options();
  EXPECT_EQ(session.threads, 2);
  EXPECT_EQ(session.streams, 3);
  EXPECT_EQ(session.isa, Isa::kRef);
  EXPECT_EQ(session.precision, engine::Precision::kBFloat16);
}

// The command of the original's README, in both of its versions.
TEST(BenchOptionsTest, TrtexecAsInTheReadme) {
  const std::string shapes = "--shapes=input_ids:64x128,attention_mask:64x128,token_type_ids:64x128";
  std::vector<std::string> log;
  const BenchOptions o = parsed(
      {"--onnx=model.onnx", "--explicitBatch", "--workspace=16384", "--int8", "--fp16", shapes, "--verbose"},
      &log);
  EXPECT_EQ(o.model, "model.onnx");
  EXPECT_EQ(o.batch, 64);
  EXPECT_EQ(o.seq, 128);
  EXPECT_EQ(o.engine.precision, "auto");
  EXPECT_TRUE(o.verbose);
  ASSERT_FALSE(log.empty());
  EXPECT_THAT(log[0], HasSubstr("ignored: --explicitBatch --workspace=16384"));
  EXPECT_EQ(parsed({"--onnx=m", "--int8", shapes}).engine.precision, "auto");
  EXPECT_EQ(parsed({"--onnx=m", "--fp16", shapes}).engine.precision, "bf16");
  EXPECT_EQ(parsed({"--onnx=m", shapes}).engine.precision, "fp32");
  EXPECT_EQ(parsed({"--onnx=m", shapes, "--precision", "bf16"}).engine.precision, "bf16");
  EXPECT_EQ(parsed({"--onnx=m", "--optShapes=a:2x3"}).seq, 3);
}

TEST(BenchOptionsTest, TrtexecUnits) {
  const BenchOptions o = parsed({"--onnx=m", "--iterations=20", "--duration=7", "--warmUp=250", "--avgRuns=5",
                                 "--streams=2", "--dumpProfile", "--threads=2", "--json", "x"});
  EXPECT_EQ(o.iterations, 20);
  EXPECT_EQ(o.seconds, 7);
  EXPECT_EQ(o.warmup, 0.25);
  EXPECT_EQ(o.average_runs, 5);
  EXPECT_EQ(o.engine.streams, 2);
  EXPECT_EQ(o.engine.threads, 2);
  EXPECT_TRUE(o.profile);
  EXPECT_EQ(o.json, "x");
}

TEST(BenchOptionsTest, UnknownWordsOfTrtexecAreNamedNotRefused) {
  std::vector<std::string> log;
  parsed({"--onnx=m", "--int8", "--useCudaGraph", "--tacticSources=-CUDNN", "--threads"}, &log);
  EXPECT_THAT(log, ::testing::ElementsAre(HasSubstr("--useCudaGraph --tacticSources=-CUDNN --threads")));
  log.clear();
  parsed({"--onnx=m", "--int8"}, &log);
  EXPECT_THAT(log, IsEmpty());
  // Without --onnx a word that is not known is a mistake.
  EXPECT_THAT(error_of({"m", "--useCudaGraph"}), HasSubstr("unknown flag --useCudaGraph"));
}

TEST(BenchOptionsTest, MistakesAreExplained) {
  EXPECT_THAT(error_of({}), HasSubstr("MODEL is missing"));
  EXPECT_THAT(error_of({"--onnx=m", "--shapes=input_ids:64"}),
              HasSubstr("\"input_ids:64\" is not NAME:BATCHxLENGTH"));
  EXPECT_THAT(error_of({"--onnx=m", "--shapes=a:0x3"}), HasSubstr("is not NAME:BATCHxLENGTH"));
  EXPECT_THAT(error_of({"--onnx=m", "--shapes=a:1x3,"}), HasSubstr("is not NAME:BATCHxLENGTH"));
  EXPECT_THAT(error_of({"--onnx=m", "--shapes=a:1x2x3"}), HasSubstr("is not NAME:BATCHxLENGTH"));
  EXPECT_THAT(error_of({"--onnx=m", "--shapes=a:2x3,b:2x4"}), HasSubstr("here are 2x3 and 2x4"));
  EXPECT_THAT(error_of({"--onnx=m", "--duration=soon"}), HasSubstr("needs a number"));
  EXPECT_THAT(error_of({"--onnx=m", "--iterations=0"}), HasSubstr("1 or more"));
  EXPECT_THAT(error_of({"--onnx=m", "other.onnx"}), HasSubstr("no other model"));
  EXPECT_THAT(error_of({"--onnx"}), HasSubstr("needs a value"));
  EXPECT_THAT(error_of({"m", "--batch", "0"}), HasSubstr("--batch is 0"));
  EXPECT_THAT(error_of({"m", "--seq", "99999999"}), HasSubstr("--seq is 99999999"));
  EXPECT_THAT(error_of({"m", "--isa", "sse"}), HasSubstr("--isa sse is unknown"));
  EXPECT_THAT(error_of({"m", "--streams", "0"}), HasSubstr("--streams is 0"));
  EXPECT_THAT(error_of({"m", "--tokens_per_batch", "9"}), HasSubstr("goes with --lengths"));
}

TEST(BenchOptionsTest, AsTheOnnxRuntimeScript) {
  const BenchOptions o = parsed({"--like-ort-script"});
  EXPECT_EQ(o.model, "model.onnx");
  EXPECT_EQ(o.batch, 1);
  EXPECT_EQ(o.seq, 128);
}

}  // namespace
}  // namespace qdqbert::cli
