// What the pages promise exists: commands and their flags, scripts, presets and targets, links and the
// headings that they lead to, the newest version.
#include <map>
#include <regex>
#include <sstream>

#include <gtest/gtest.h>

#include "qdqbert/version.h"

#include "tests/house/repository.h"

namespace qdqbert::testing {
namespace {

std::vector<fs::path> pages() {
  std::vector<fs::path> result = written_files();
  std::erase_if(result, [](const fs::path& path) { return path.extension() != ".md"; });
  return result;
}

std::string name_of(const fs::path& page) {
  return fs::relative(page, kSource).string();
}

/// Lines of fenced blocks, continuations joined, and what stands between single backquotes outside of them.
std::vector<std::string> code_of(const std::string& page) {
  static const std::regex inline_code("`([^`]+)`");
  std::vector<std::string> code;
  std::istringstream lines(page);
  std::string joined;
  bool fenced = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      fenced = !fenced;
      continue;
    }
    if (!fenced) {
      for (auto it = std::sregex_iterator(line.begin(), line.end(), inline_code);
           it != std::sregex_iterator(); ++it)
        code.push_back((*it)[1]);
      continue;
    }
    joined += line;
    if (joined.ends_with('\\')) {
      joined.back() = ' ';
      continue;
    }
    code.push_back(joined);
    joined.clear();
  }
  return code;
}

/// Pieces of a line of code that are each one command.
std::vector<std::string> commands_of(const std::string& code) {
  static const std::regex between(R"(\s*(&&|\|\||[|;#])\s*)");
  return {std::sregex_token_iterator(code.begin(), code.end(), between, -1), std::sregex_token_iterator()};
}

bool begins_a_name(const fs::path& path) {
  for (const auto& entry : fs::directory_iterator(path.parent_path()))
    if (entry.path().filename().string().starts_with(path.filename().string())) return true;
  return false;
}

/// Names of the headings of a page as GitHub makes them: lower case,
/// spaces to hyphens, other punctuation left out.
std::set<std::string> anchors_of(const std::string& page) {
  std::set<std::string> anchors;
  std::map<std::string, int> seen;
  std::istringstream lines(page);
  bool fenced = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) fenced = !fenced;
    const size_t level = line.find_first_not_of('#');
    if (fenced || level == 0 || level == std::string::npos || level > 6 || line[level] != ' ') continue;
    std::string anchor;
    for (const char c : line.substr(level + 1)) {
      if (c == ' ') anchor += '-';
      if (c == '-' || c == '_' || static_cast<unsigned char>(c) >= 0x80 ||
          std::isalnum(static_cast<unsigned char>(c)))
        anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    if (const int before = seen[anchor]++; before > 0) anchor += "-" + std::to_string(before);
    anchors.insert(anchor);
  }
  return anchors;
}

TEST(Pages, CodeIsFound) {
  const std::string page =
      "text qdqbert qa --x, `qdqbert bench F`\n\n```sh\nqdqbert qa --a \\\n  --b c && make demo\n```\n";
  const auto code = code_of(page);
  ASSERT_EQ(code.size(), 2u);
  EXPECT_EQ(code[0], "qdqbert bench F");
  EXPECT_EQ(commands_of(code[1]), (std::vector<std::string>{"qdqbert qa --a    --b c", "make demo"}));
}

TEST(Pages, HeadingsHaveTheirNames) {
  EXPECT_EQ(anchors_of("# A `b`, c_d (e)\n```\n# no\n```\n## A\n## A\n#no\n"),
            (std::set<std::string>{"a-b-c_d-e", "a", "a-1"}));
}

TEST(Pages, EveryFlagExists) {
  static const std::regex verb(R"((^|\s|/)qdqbert ([a-z][a-z-]*))");
  static const std::regex flag(R"(\s--([A-Za-z][A-Za-z0-9_-]*))");
  static const std::set<std::string> training = {"qa", "classify", "tag", "choose", "embed", "lm"};
  const std::string program = (kBin / "qdqbert").string();
  const std::string verbs = output_of(program + " --help");
  std::map<std::string, std::string> help;
  int checked = 0;
  for (const fs::path& page : pages())
    for (const std::string& code : code_of(text_of(page)))
      for (const std::string& command : commands_of(code)) {
        std::smatch found;
        if (!std::regex_search(command, found, verb)) continue;
        const std::string name = found[2];
        EXPECT_TRUE(std::regex_search(verbs, std::regex("\\b" + name + "\\b")))
            << name_of(page) << " shows a verb that is not there: " << command;
        if (training.contains(name) && !fs::exists(kBin / "qdqbert-train")) continue;  // without LibTorch
        if (help[name].empty()) help[name] = output_of(program + " " + name + " --help");
        // What stands before the verb is a launcher's.
        const std::string rest = found.suffix();
        for (auto it = std::sregex_iterator(rest.begin(), rest.end(), flag); it != std::sregex_iterator();
             ++it) {
          std::string option = (*it)[1];
          if (option == "help") continue;
          if (option.starts_with("no_")) option.erase(0, 3);
          EXPECT_TRUE(std::regex_search(help[name], std::regex("--" + option + "\\b")))
              << name_of(page) << " shows --" << option << " in: " << command;
          ++checked;
        }
      }
  EXPECT_GT(checked, 0);
}

TEST(Pages, EveryScriptPresetAndTargetExists) {
  static const std::regex script(
      R"((^|[\s'"(])((?:scripts|benchmarks|tests|\.ci)/[A-Za-z0-9_./-]*[A-Za-z0-9_]))");
  static const std::regex preset(R"(--preset[ =]([a-z0-9-]+))");
  static const std::regex target(R"(^make ([a-z]+)\b)");
  const std::string presets = text_of(kSource / "CMakePresets.json"),
                    makefile = text_of(kSource / "Makefile");
  int checked = 0;
  for (const fs::path& page : pages())
    for (const std::string& code : code_of(text_of(page)))
      for (const std::string& command : commands_of(code)) {
        std::smatch found;
        if (std::regex_search(command, found, script)) {
          static const std::regex rest(R"(^[-.]?\*)");
          const bool pattern = std::regex_search(found.suffix().str(), rest);
          const fs::path path = kSource / found[2].str();
          EXPECT_TRUE(found[2].str().find("NAME") != std::string::npos || fs::exists(path) ||
                      (pattern && begins_a_name(path)))
              << name_of(page) << " names " << found[2];
          ++checked;
        }
        if (std::regex_search(command, found, preset)) {
          EXPECT_NE(presets.find("\"name\": \"" + found[1].str() + "\""), std::string::npos)
              << name_of(page) << " names a preset " << found[1];
          ++checked;
        }
        if (std::regex_search(command, found, target)) {
          EXPECT_TRUE(("\n" + makefile).find("\n" + found[1].str() + ":") != std::string::npos)
              << name_of(page) << " names a target " << found[1];
          ++checked;
        }
      }
  EXPECT_GT(checked, 0);
}

/// What stands in fenced blocks of C++.
std::vector<std::string> cpp_of(const std::string& page) {
  static const std::regex block("```cpp\n([^`]*)```");
  return {std::sregex_token_iterator(page.begin(), page.end(), block, 1), std::sregex_token_iterator()};
}

/// Examples are compiled and run, so what is quoted from them is true.
TEST(Pages, CppIsQuotedFromExamples) {
  ASSERT_EQ(cpp_of("a\n```cpp\nint x;\n```\n```sh\nls\n```\n"), std::vector<std::string>{"int x;\n"});
  std::string examples;
  for (const auto& entry : fs::directory_iterator(kSource / "examples"))
    if (entry.path().extension() == ".cc") examples += text_of(entry.path());
  size_t blocks = 0;
  for (const fs::path& page : pages())
    for (const std::string& block : cpp_of(text_of(page))) {
      ++blocks;
      EXPECT_NE(examples.find(block), std::string::npos)
          << name_of(page) << " has C++ that no file of examples/ has:\n"
          << block;
    }
  EXPECT_GT(blocks, 1U);
}

TEST(Pages, LinksLeadSomewhere) {
  static const std::regex link(R"(\]\(([^)#:\s]*)(?:#([^)\s]*))?\))");
  int links = 0;
  for (const fs::path& page : pages()) {
    const std::string text = text_of(page);
    for (auto it = std::sregex_iterator(text.begin(), text.end(), link); it != std::sregex_iterator(); ++it) {
      const std::string to = (*it)[1], anchor = (*it)[2];
      const fs::path target = to.empty() ? page : page.parent_path() / to;
      EXPECT_TRUE(fs::exists(target)) << name_of(page) << " links to " << to;
      if (!anchor.empty() && target.extension() == ".md")
        EXPECT_EQ(anchors_of(text_of(target)).count(anchor), 1u)
            << name_of(page) << " links to a heading that is not there: " << to << "#" << anchor;
      ++links;
    }
  }
  EXPECT_GT(links, 0);
}

TEST(Pages, TheNewestVersionIsThisOne) {
  static const std::regex version(R"(\n## (\d+\.\d+\.\d+) )");
  const std::string changes = text_of(kSource / "CHANGELOG.md");
  std::smatch found;
  ASSERT_TRUE(std::regex_search(changes, found, version));
  EXPECT_EQ(found[1], kVersion);
}

}  // namespace
}  // namespace qdqbert::testing
