// Runs the built command as a person would.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "qdqbert/base/json.h"

#include "tests/support/scratch_directory.h"

namespace qdqbert::testing {

struct CommandResult {
  int code = -1;  ///< exit code, or 128 + signal
  std::string out, err;
  double seconds = 0;
  int64_t peak_bytes = 0;  ///< largest resident set of the command
};

/// build/bin/qdqbert of this build.
std::filesystem::path command_path();

struct CommandOptions {
  std::map<std::string, std::string> environment;  ///< added to this process's
  /// Largest file that the command may write, in bytes: a write beyond it fails as on a full disk.
  std::optional<uint64_t> file_size_limit;
  /// Ctrl-C as soon as standard error holds this text.
  std::string interrupt_at;
  /// SIGKILL this many seconds after standard error holds the text.
  std::string kill_at;
  double kill_delay = 0;
  std::string input;         ///< what stands on standard input
  bool reader_gone = false;  ///< standard output is a pipe that nobody reads
};

/// Runs `qdqbert ARGUMENTS`.
CommandResult run_command(const std::vector<std::string>& arguments, const CommandOptions& options = {});

/// Its names as words of a command.
class ScratchDirectory : public qdqbert::ScratchDirectory {
 public:
  std::string operator/(const std::string& name) const { return (path() / name).string(); }
};

}  // namespace qdqbert::testing
