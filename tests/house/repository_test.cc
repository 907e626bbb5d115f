// The repository as a whole is the same on every machine.
#include "tests/house/repository.h"

#include <cstdlib>
#include <regex>
#include <sstream>

#include <gtest/gtest.h>

namespace qdqbert::testing {
namespace {

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

}  // namespace
}  // namespace qdqbert::testing
