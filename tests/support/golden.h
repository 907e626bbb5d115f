// Where golden cases and data sets are found, and the bookkeeping that every golden family shares.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "qdqbert/base/json.h"

namespace qdqbert::testing {

/// QDQBERT_GOLDEN_DIR, default tests/golden of the source tree.
/// Throws InputError when it is not a readable directory.
std::filesystem::path golden_dir();

/// The file of a data set named by a golden case, searched in QDQBERT_DATA_DIR (colon list, default data/) as
/// <name>.json.gz, <name>.json, <name>, tasks/<name>.* ; nullopt when absent.
std::optional<std::filesystem::path> find_data(const std::string& name);

/// Lines of a .jsonl or .jsonl.gz file as JSON.
std::vector<Json> read_json_lines(const std::filesystem::path& path);

/// Runs all cases of one family. `run` may throw GoldenSkip (counted under its reason, which must stand in
/// the checked-in list tests/golden-skips.txt as "family reason") or any other exception (the case fails with
/// that text). At the end prints "family: N cases, M skipped by name" and adds a test failure when N is 0.
struct GoldenSkip {
  std::string reason;
};
class GoldenFamily {
 public:
  explicit GoldenFamily(std::string name);
  ~GoldenFamily() noexcept(false);
  void run(const std::string& case_name, const std::function<void()>& body);

 private:
  std::string name_;
  int cases_ = 0, skipped_ = 0, failed_ = 0;
  std::vector<std::pair<std::string, int>> reasons_;
};

}  // namespace qdqbert::testing
