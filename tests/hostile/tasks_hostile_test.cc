// SQuAD files that are damaged, incomplete or contradict themselves: each is refused with one sentence that
// names the file and, where there is one, the question.
#include <filesystem>
#include <fstream>
#include <functional>

#include <gtest/gtest.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/tasks/squad_dataset.h"
#include "qdqbert/tasks/squad_features.h"

#include "tests/support/refusal.h"

namespace qdqbert::tasks {
namespace {

namespace fs = std::filesystem;

using testing::refusal;

std::string articles(const std::string& questions, const std::string& context = "\"the cat sat\"") {
  return R"({"version":"1.1","data":[{"title":"t","paragraphs":[{"context":)" + context + R"(,"qas":[)" +
         questions + "]}]}]}";
}

const std::string kQuestion = R"({"id":"q1","question":"who","answers":[{"text":"cat","answer_start":4}]})";

std::string json_refusal(const std::string& text) {
  return refusal([&] { parse_squad_json(text, "dev.json"); });
}

TEST(SquadHostile, TheUndamagedFileIsRead) {
  const auto examples = parse_squad_json(articles(kQuestion), "dev.json");
  ASSERT_EQ(examples.size(), 1u);
  EXPECT_EQ(examples[0].answers[0].start, 4);
}

TEST(SquadHostile, MissingKeysAndWrongTypesAreNamed) {
  const struct {
    std::string text, word;
  } cases[] = {
      {R"({"id":"q1","answers":[]})", "question"},
      {R"({"question":"who","answers":[]})", "id"},
      {R"({"id":"q1","question":"who"})", "answers"},
      {R"({"id":7.5,"question":"who","answers":[]})", "id"},
      {R"({"id":null,"question":"who","answers":[]})", "id"},
      {R"({"id":"q1","question":"who","answers":[{"text":"cat","answer_start":1e300}]})", "answer_start"},
      {R"({"id":"q1","question":["who"],"answers":[]})", "question"},
      {R"({"id":"q1","question":"who","answers":"cat"})", "object is needed"},
      {R"({"id":"q1","question":"who","answers":[{"answer_start":4}]})", "text"},
      {R"({"id":"q1","question":"who","answers":[{"text":"cat"}]})", "answer_start"},
      {R"({"id":"q1","question":"who","answers":[{"text":"cat","answer_start":"4"}]})", "answer_start"},
      {R"({"id":"q1","question":"who","answers":[{"text":"cat","answer_start":4.5}]})", "answer_start"},
      {R"({"id":"q1","question":"who","answers":[{"text":3,"answer_start":4}]})", "text"},
      {R"("q1")", ""},
  };
  for (const auto& c : cases) {
    const std::string message = json_refusal(articles(c.text));
    EXPECT_NE(message.find("dev.json"), std::string::npos) << c.text << " -> " << message;
    EXPECT_NE(message.find(c.word), std::string::npos) << c.text << " -> " << message;
  }
  for (const char* text :
       {"", "[]", "3", "{}", R"({"data":3})", R"({"data":[3]})", R"({"data":[{"title":"t","paragraphs":3}]})",
        R"({"data":[{"paragraphs":[{"qas":[]}]}]})"})
    EXPECT_NE(json_refusal(text), "") << text;
  EXPECT_NE(json_refusal(articles(kQuestion, "7")), "");
}

TEST(SquadHostile, OffsetsThatDoNotMatchAreRefused) {
  for (const char* start :
       {"3", "5", "9", "11", "-1", "1000000", "9223372036854775807", "-9223372036854775808"}) {
    const std::string message = json_refusal(
        articles(std::string(R"({"id":"q1","question":"who","answers":[{"text":"cat","answer_start":)") +
                 start + "}]}"));
    EXPECT_NE(message.find("q1"), std::string::npos) << start << ": " << message;
  }
  // Offsets count code points: the bytes of ä and é do not matter.
  EXPECT_EQ(json_refusal(articles(kQuestion, "\"\u00e4\u00e9\u00e9 cat\"")), "");
}

TEST(SquadHostile, RepeatedIdentifiersAndEmptySetsAreRefused) {
  EXPECT_NE(json_refusal(articles(kQuestion + "," + kQuestion)).find("q1"), std::string::npos);
  EXPECT_NE(json_refusal(articles("")), "");
  EXPECT_NE(json_refusal(R"({"data":[]})"), "");
  EXPECT_NE(refusal([] { parse_squad_json_lines("\n\n", "dev.jsonl"); }), "");
  EXPECT_NE(refusal([] { parse_squad_csv("", "dev.csv"); }), "");
  EXPECT_NE(refusal([] { parse_squad_csv("id,title,context,question,answers\n", "dev.csv"); }), "");
}

TEST(SquadHostile, BrokenTextIsRefused) {
  const std::string good = articles(kQuestion);
  for (size_t n = 0; n < good.size(); ++n) EXPECT_NE(json_refusal(good.substr(0, n)), "") << n;
  EXPECT_NE(json_refusal(articles(kQuestion, "\"the cat \xff\"")), "");
  EXPECT_NE(json_refusal(std::string(200000, '[')), "");
  EXPECT_NE(refusal([] { parse_squad_csv("id,title,context,question,answers\n1,t,\"open", "dev.csv"); }), "");
  EXPECT_NE(refusal([] { parse_squad_csv("id,title,question,answers\n1,t,q,{}\n", "dev.csv"); }), "");
  EXPECT_NE(refusal([] { parse_squad_csv("id,title,context,question,answers\n1,t\n", "dev.csv"); }), "");
}

TEST(SquadHostile, DamagedFilesOnDiskAreRefused) {
  const fs::path directory = fs::temp_directory_path() / ("squad-hostile-" + std::to_string(::getpid()));
  fs::create_directories(directory);
  EXPECT_THROW(read_squad(directory / "absent.json"), Error);
  EXPECT_THROW(read_squad(directory), Error);
  const std::string whole = read_file(fs::path(QDQBERT_SOURCE_DIR) / "data/squad-v1.1-dev.json.gz");
  for (const size_t n : {size_t{0}, size_t{9}, whole.size() / 2, whole.size() - 1}) {
    const fs::path path = directory / "cut.json.gz";
    std::ofstream(path, std::ios::binary).write(whole.data(), static_cast<std::streamsize>(n));
    EXPECT_NE(refusal([&] { read_squad(path); }), "") << n;
  }
  fs::remove_all(directory);
}

}  // namespace
}  // namespace qdqbert::tasks
