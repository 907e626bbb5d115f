// The repository as a whole: it is the same on every machine, and what its pages promise exists.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;

const fs::path kSource = QDQBERT_SOURCE_DIR;
const fs::path kBin = fs::path(QDQBERT_BINARY_DIR) / "bin";

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Standard output and error of a command line.
std::string output_of(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return "";
  std::string out;
  std::array<char, 4096> buffer;
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), n);
  pclose(pipe);
  return out;
}

/// Files of the source tree that people write: no data, no build folders.
std::vector<fs::path> written_files() {
  static const std::set<std::string> kinds = {".h",  ".cc",   ".inc", ".md", ".txt", ".cmake",
                                              ".in", ".json", ".py",  ".sh", ""};
  std::vector<fs::path> files;
  for (auto it = fs::recursive_directory_iterator(kSource); it != fs::recursive_directory_iterator(); ++it) {
    const std::string name = it->path().filename().string();
    const bool build = it.depth() == 0 && name.rfind("build", 0) == 0;
    if (it->is_directory() &&
        (build || name == ".git" || name == ".cache" || name == "golden" || name == "seeds")) {
      it.disable_recursion_pending();
      continue;
    }
    if (it->is_regular_file() && it->file_size() < 1'000'000 && kinds.count(it->path().extension().string()))
      files.push_back(it->path());
  }
  return files;
}

TEST(Repository, NoFileNamesTheMachineItWasWrittenOn) {
  std::vector<std::string> forbidden = {kSource.string() + "/"};
  if (const char* home = std::getenv("HOME"); home && std::string(home).size() > 1)
    forbidden.push_back(std::string(home) + "/");
  static const std::regex home_directory(R"((^|[\s"'=(])/(home|Users)/[a-z]+/)");
  int files = 0;
  for (const fs::path& path : written_files()) {
    ++files;
    const std::string text = text_of(path);
    for (const std::string& name : forbidden)
      EXPECT_EQ(text.find(name), std::string::npos) << fs::relative(path, kSource) << " names " << name;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
      EXPECT_FALSE(std::regex_search(line, home_directory)) << fs::relative(path, kSource) << ": " << line;
  }
  EXPECT_GT(files, 100);
}

TEST(Repository, TheCommandDoesNotLoadLibTorch) {
  ASSERT_TRUE(fs::exists(kBin / "qdqbert"));
  const std::string needed = output_of("readelf -d " + (kBin / "qdqbert").string());
  ASSERT_NE(needed.find("NEEDED"), std::string::npos) << needed;
  for (const char* library : {"libtorch", "libc10", "libonnxruntime", "libpython"})
    EXPECT_EQ(needed.find(library), std::string::npos) << needed;
}

/// Blocks of commands in a page: indented or fenced lines, continuations joined.
std::vector<std::string> commands_of(const std::string& page) {
  std::vector<std::string> commands;
  std::istringstream lines(page);
  std::string joined;
  bool fenced = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("```", 0) == 0) fenced = !fenced;
    if (!fenced && line.rfind("    ", 0) != 0 && joined.empty()) continue;
    joined += line;
    if (!joined.empty() && joined.back() == '\\') {
      joined.back() = ' ';
      continue;
    }
    if (joined.find("qdqbert ") != std::string::npos) commands.push_back(joined);
    joined.clear();
  }
  return commands;
}

TEST(Repository, EveryFlagThatThePagesShowExists) {
  static const std::regex verb(R"((^|[\s/])qdqbert ([a-z][a-z-]*))");
  static const std::regex flag(R"(\s--([A-Za-z][A-Za-z0-9_-]*))");
  int checked = 0;
  for (const char* page : {"README.md", "models/minilm-l6-squad/README.md"}) {
    for (const std::string& command : commands_of(text_of(kSource / page))) {
      std::smatch found;
      if (!std::regex_search(command, found, verb)) continue;
      static const std::set<std::string> training = {"qa", "classify", "tag", "choose", "embed", "lm"};
      if (training.count(found[2]) > 0 && !fs::exists(kBin / "qdqbert-train")) continue;  // without LibTorch
      const std::string help = output_of((kBin / "qdqbert").string() + " " + found[2].str() + " --help");
      for (auto it = std::sregex_iterator(command.begin(), command.end(), flag); it != std::sregex_iterator();
           ++it) {
        std::string name = (*it)[1];
        if (name.rfind("no_", 0) == 0) name.erase(0, 3);
        EXPECT_TRUE(std::regex_search(help, std::regex("--" + name + "\\b")))
            << page << " shows --" << name << " in: " << command;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 0);
}

TEST(Repository, CommandsAreFoundInPages) {
  const auto commands = commands_of(
      "text qdqbert qa --x\n\n    qdqbert qa --a \\\n      --b c\n\n```sh\nqdqbert inspect\n```\n");
  ASSERT_EQ(commands.size(), 2u);
  EXPECT_NE(commands[0].find("--b c"), std::string::npos);
}

TEST(Repository, LinksBetweenPagesLeadSomewhere) {
  static const std::regex link(R"(\]\(([^)#:\s]+)(#[^)]*)?\))");
  int links = 0;
  for (const fs::path& page : written_files()) {
    if (page.extension() != ".md") continue;
    const std::string text = text_of(page);
    for (auto it = std::sregex_iterator(text.begin(), text.end(), link); it != std::sregex_iterator(); ++it) {
      EXPECT_TRUE(fs::exists(page.parent_path() / (*it)[1].str())) << page << " links to " << (*it)[1];
      ++links;
    }
  }
  EXPECT_GT(links, 0);
}

}  // namespace
