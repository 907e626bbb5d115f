#include "cli/arguments.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

namespace qdqbert::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Flags {
  std::string model, calibrator = "max";
  std::optional<std::string> cache;
  int64_t length = 384, stride = 128;
  std::optional<int64_t> limit;
  double threshold = 0;
  std::optional<double> percentile;
  bool pad = true, calib = false, disable = false;
  std::vector<std::string> keywords;
  bool parsed = false;

  static Flags parse(const Arguments& arguments) {
    Flags f;
    ArgumentParser parser("qa", "[flags]", "A test.");
    parser.add("model_name_or_path", f.model, "the model");
    parser.add("cache_dir", f.cache, "cache");
    parser.add("max_seq_length", f.length, "length");
    parser.add("max_eval_samples", f.limit, "samples");
    parser.add("doc_stride", f.stride, "overlap");
    parser.add("null_score_diff_threshold", f.threshold, "threshold");
    parser.add("percentile", f.percentile, "percentile");
    parser.add("pad_to_max_length", f.pad, "pad");
    parser.add("do_calib", f.calib, "calibrate");
    parser.add_switch("quant-disable", f.disable, "float");
    parser.add("quant-disable-keyword", f.keywords, "names");
    parser.add_choice("calibrator", f.calibrator, {"max", "percentile", "mse", "entropy"}, "method");
    parser.refuse("push_to_hub", "uploading is not done by this command");
    parser.require("model_name_or_path");
    f.parsed = parser.parse(arguments);
    return f;
  }
  static std::string error_of(const Arguments& arguments) {
    try {
      parse(arguments);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "no error";
  }
};

TEST(ArgumentsTest, UnderscoresAndHyphensAreTheSame) {
  EXPECT_EQ(Flags::parse({"--model_name_or_path", "m", "--max_seq_length", "128"}).length, 128);
  EXPECT_EQ(Flags::parse({"--model-name-or-path", "m", "--max-seq-length=64"}).length, 64);
  EXPECT_TRUE(Flags::parse({"--model_name-or_path=m", "--quant_disable"}).disable);
}

TEST(ArgumentsTest, BooleansInEveryForm) {
  for (const char* yes : {"true", "yes", "t", "y", "1", "True", "YES"})
    EXPECT_TRUE(Flags::parse({"--model_name_or_path", "m", "--do_calib", yes}).calib) << yes;
  for (const char* no : {"false", "no", "f", "n", "0", "False"})
    EXPECT_FALSE(Flags::parse({"--model_name_or_path", "m", "--pad_to_max_length", no}).pad) << no;
  EXPECT_TRUE(Flags::parse({"--do_calib", "--model_name_or_path", "m"}).calib);
  EXPECT_FALSE(Flags::parse({"--no_pad_to_max_length", "--model_name_or_path", "m"}).pad);
  EXPECT_FALSE(Flags::parse({"--no-pad-to-max-length", "--model_name_or_path", "m"}).pad);
  EXPECT_FALSE(Flags::parse({"--do_calib=false", "--model_name_or_path", "m"}).calib);
  EXPECT_THAT(Flags::error_of({"--do_calib=maybe"}), HasSubstr("takes true or false"));
}

TEST(ArgumentsTest, PrefixesAreTakenWhenTheyAreUnambiguous) {
  EXPECT_EQ(Flags::parse({"--model", "m", "--max_s", "7"}).length, 7);
  EXPECT_FALSE(Flags::parse({"--model", "m", "--no_pad"}).pad);
  EXPECT_THAT(Flags::error_of({"--max", "7"}),
              HasSubstr("--max could be --max_seq_length, --max_eval_samples"));
  // A whole name wins over a longer one that begins with it.
  EXPECT_TRUE(Flags::parse({"--model", "m", "--quant-disable"}).keywords.empty());
}

TEST(ArgumentsTest, ListsTakeAllValuesUpToTheNextFlag) {
  const Flags f = Flags::parse({"--quant-disable-keyword", "layer.1", "output", "--model", "m"});
  EXPECT_THAT(f.keywords, ElementsAre("layer.1", "output"));
  EXPECT_THAT(Flags::error_of({"--quant-disable-keyword", "--model", "m"}), HasSubstr("at least one value"));
}

TEST(ArgumentsTest, NegativeNumbersAreValues) {
  EXPECT_EQ(Flags::parse({"--model", "m", "--null_score_diff_threshold", "-1.5"}).threshold, -1.5);
  EXPECT_EQ(Flags::parse({"--model", "m", "--max_eval_samples", "-1"}).limit, -1);
}

TEST(ArgumentsTest, ArgsFileIsReadFirst) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "qa.args";
  write_file(path, "--max_seq_length 100 --doc_stride 10 # comment --nonsense\n--model m\n");
  const Flags f = Flags::parse({"--doc_stride", "20", "--args_file", path.string()});
  EXPECT_EQ(f.length, 100);
  EXPECT_EQ(f.stride, 20);
  EXPECT_EQ(f.model, "m");
}

TEST(ArgumentsTest, MistakesAreExplained) {
  EXPECT_THAT(Flags::error_of({"--doc_strid_e", "1"}), HasSubstr("did you mean --doc_stride?"));
  EXPECT_THAT(Flags::error_of({"--stride", "1"}), HasSubstr("did you mean --doc_stride?"));
  EXPECT_THAT(Flags::error_of({"--doc_stride", "x", "--model", "m"}),
              HasSubstr("--doc_stride needs an integer, got \"x\""));
  EXPECT_THAT(Flags::error_of({"--doc_stride"}), HasSubstr("--doc_stride needs a value"));
  EXPECT_THAT(Flags::error_of({"--percentile", "nan", "--model", "m"}), HasSubstr("needs a number"));
  EXPECT_THAT(Flags::error_of({"--calibrator", "best", "--model", "m"}),
              HasSubstr("must be one of max, percentile, mse, entropy"));
  EXPECT_THAT(Flags::error_of({"--push_to_hub"}), HasSubstr("uploading is not done"));
  EXPECT_THAT(Flags::error_of({"stray"}), HasSubstr("nothing more is expected here; usage: qdqbert"));
  EXPECT_THAT(Flags::error_of({"--doc_stride", "3"}), HasSubstr("--model_name_or_path is required"));
  EXPECT_THAT(Flags::error_of({"--quant-disable=1", "--model", "m"}), HasSubstr("takes no value"));
}

TEST(ArgumentsTest, HelpShowsDefaults) {
  ::testing::internal::CaptureStdout();
  EXPECT_FALSE(Flags::parse({"--help"}).parsed);
  const std::string text = ::testing::internal::GetCapturedStdout();
  EXPECT_THAT(text, HasSubstr("--max_seq_length N"));
  EXPECT_THAT(text, HasSubstr("length (default 384)"));
  EXPECT_THAT(text, HasSubstr("(required)"));
}

}  // namespace
}  // namespace qdqbert::cli
