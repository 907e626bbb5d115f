#include "tests/support/golden.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

namespace qdqbert::testing {

namespace fs = std::filesystem;

fs::path golden_dir() {
  const char* set = std::getenv("QDQBERT_GOLDEN_DIR");
  const fs::path dir = set && *set ? fs::path(set) : fs::path(QDQBERT_SOURCE_DIR) / "tests/golden";
  if (!fs::is_directory(dir)) fail("[golden] {} is not a directory; set QDQBERT_GOLDEN_DIR", dir.string());
  return dir;
}

std::optional<fs::path> find_data(const std::string& name) {
  const char* set = std::getenv("QDQBERT_DATA_DIR");
  std::istringstream list(set && *set ? set : (fs::path(QDQBERT_SOURCE_DIR) / "data").string());
  for (std::string dir; std::getline(list, dir, ':');) {
    for (const char* suffix : {".json.gz", ".json", ".txt", ""})
      if (const fs::path path = fs::path(dir) / (name + suffix); fs::is_regular_file(path)) return path;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(fs::path(dir) / "tasks", ignored)) {
      const std::string file = entry.path().filename().string();
      if (file.starts_with(name + ".")) return entry.path();
    }
  }
  return std::nullopt;
}

std::vector<Json> read_json_lines(const fs::path& path) {
  std::vector<Json> lines;
  std::istringstream text(read_maybe_gzip(path));
  int number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    if (!line.empty()) lines.push_back(parse_json(line, fmt::format("{}:{}", path.string(), number)));
  }
  return lines;
}

namespace {

bool skip_is_listed(const std::string& family, const std::string& reason) {
  std::istringstream list(read_file(fs::path(QDQBERT_SOURCE_DIR) / "tests/golden-skips.txt"));
  for (std::string line; std::getline(list, line);)
    if (line == family + " " + reason) return true;
  return false;
}

}  // namespace

GoldenFamily::GoldenFamily(std::string name) : name_(std::move(name)) {}

void GoldenFamily::run(const std::string& case_name, const std::function<void()>& body) {
  ++cases_;
  SCOPED_TRACE(name_ + "/" + case_name);
  try {
    body();
  } catch (const GoldenSkip& skip) {
    --cases_;
    ++skipped_;
    if (!skip_is_listed(name_, skip.reason))
      ADD_FAILURE() << name_ << "/" << case_name << " wants to be skipped as \"" << skip.reason
                    << "\", which tests/golden-skips.txt does not list";
    auto found =
        std::find_if(reasons_.begin(), reasons_.end(), [&](auto& r) { return r.first == skip.reason; });
    if (found == reasons_.end()) {
      reasons_.emplace_back(skip.reason, 1);
    } else {
      ++found->second;
    }
  } catch (const std::exception& error) {
    ADD_FAILURE() << name_ << "/" << case_name << ": " << error.what();
  }
}

GoldenFamily::~GoldenFamily() noexcept(false) {
  std::printf("%s: %d cases, %d skipped by name\n", name_.c_str(), cases_, skipped_);
  for (const auto& [reason, count] : reasons_) std::printf("  skipped %d: %s\n", count, reason.c_str());
  if (cases_ == 0) ADD_FAILURE() << name_ << ": no case was found in the golden directory";
}

}  // namespace qdqbert::testing
