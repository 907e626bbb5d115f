// `qdqbert tokenize` as scripts use it.
#include <algorithm>
#include <cstdio>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/text/tokenizer.h"

#include "tests/support/golden.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::text {
namespace {

struct Finished {
  int code;
  std::string output;  ///< both streams
};

Finished run(const std::string& arguments) {
  const std::string command = QDQBERT_BINARY_DIR "/bin/qdqbert tokenize " + arguments + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  Finished result{-1, ""};
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) result.output.append(buffer, n);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
  return result;
}

class TokenizeVerb : public ::testing::Test {
 protected:
  TokenizeVerb() {
    write_file(vocabulary(), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncaf\u00e9\ncafe\n##s\n\"\nCaf\u00e9\n");
  }
  std::filesystem::path vocabulary() const { return scratch_ / "vocab.txt"; }
  std::string at(const std::string& name) const { return (scratch_ / name).string(); }
  ScratchDirectory scratch_;
};

TEST_F(TokenizeVerb, OneObjectALine) {
  write_file(at("in"), "Caf\u00e9s \"\n\n[MASK] x");
  const Finished done = run(at("vocab.txt") + " --input " + at("in") + " --output " + at("out") +
                            " --threads 2 --json " + at("stats"));
  EXPECT_EQ(done.code, 0) << done.output;
  EXPECT_EQ(read_file(at("out")),
            "{\"ids\": [2, 6, 7, 8, 3], \"tokens\": [\"[CLS]\", \"cafe\", \"##s\", \"\\\"\", \"[SEP]\"], "
            "\"offsets\": [[0, 0], [0, 4], [4, 5], [6, 7], [0, 0]]}\n"
            "{\"ids\": [2, 3], \"tokens\": [\"[CLS]\", \"[SEP]\"], \"offsets\": [[0, 0], [0, 0]]}\n"
            "{\"ids\": [2, 4, 1, 3], \"tokens\": [\"[CLS]\", \"[MASK]\", \"[UNK]\", \"[SEP]\"], \"offsets\": "
            "[[0, 0], [0, 6], [7, 8], [0, 0]]}\n");
  const Json stats = read_json(at("stats"));
  EXPECT_EQ(stats.at("lines"), 3);
  EXPECT_EQ(stats.at("tokens"), 5);
  EXPECT_GT(stats.at("encode_seconds").get<double>(), 0.0);
}

TEST_F(TokenizeVerb, CaseComesFromTheFlagElseFromTheDirectory) {
  write_file(at("in"), "Caf\u00e9\n");
  const auto ids = [&](const std::string& arguments) {
    const Finished done = run(arguments + " --input " + at("in"));
    EXPECT_EQ(done.code, 0) << done.output;
    return parse_json(done.output, "output").at("ids")[1].get<int>();
  };
  EXPECT_EQ(ids(at("vocab.txt")), 6);
  EXPECT_EQ(ids(at("vocab.txt") + " --no-do_lower_case"), 9);
  EXPECT_EQ(ids(at("vocab.txt") + " --do_lower_case --no_strip_accents"), 5);
  EXPECT_EQ(ids(at("")), 6);
  write_file(at("tokenizer_config.json"), "{\"do_lower_case\": false}");
  EXPECT_EQ(ids(at("")), 9);
  EXPECT_EQ(ids(at("") + " --do_lower_case"), 6);
}

TEST_F(TokenizeVerb, ManyLinesKeepTheirOrderForEveryNumberOfThreads) {
  std::string lines;
  for (int i = 0; i < 10000; ++i) lines += std::string(static_cast<size_t>(i % 7), ' ') + "cafe\n";
  write_file(at("in"), lines);
  for (const char* threads : {"1", "3"})
    EXPECT_EQ(
        run(at("vocab.txt") + " --input " + at("in") + " --output " + at(threads) + " --threads " + threads)
            .code,
        0);
  EXPECT_EQ(read_file(at("1")), read_file(at("3")));
  EXPECT_EQ(testing::read_json_lines(at("3"))[8001].at("offsets")[1], Json::array({0, 4}));
}

TEST_F(TokenizeVerb, BadInputIsOneSentenceAndLeavesTheOldFile) {
  write_file(at("out"), "old");
  write_file(at("bad"), "fine\nnot \xff fine\n");
  const Finished utf8 = run(at("vocab.txt") + " --input " + at("bad") + " --output " + at("out"));
  EXPECT_EQ(utf8.code, 2);
  EXPECT_NE(utf8.output.find("line 2 is not valid UTF-8"), std::string::npos) << utf8.output;
  for (const std::string& arguments : {at("none"), at("vocab.txt") + " --input " + at("none"),
                                       at("vocab.txt") + " --threads 0", std::string()}) {
    const Finished refused = run(arguments + " --output " + at("out") + " < /dev/null");
    EXPECT_EQ(refused.code, 2) << refused.output;
    EXPECT_EQ(std::count(refused.output.begin(), refused.output.end(), '\n'), 1) << refused.output;
  }
  EXPECT_EQ(read_file(at("out")), "old");
}

}  // namespace
}  // namespace qdqbert::text
