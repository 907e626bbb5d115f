#include "tests/e2e/command.h"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

extern char** environ;

namespace qdqbert::testing {

namespace fs = std::filesystem;

fs::path command_path() {
  return fs::path(QDQBERT_BINARY_DIR) / "bin/qdqbert";
}

namespace {

/// A limit that a child inherits; put back at the end.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::optional<uint64_t> bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    if (!bytes) return;
    rlimit limit = before_;
    limit.rlim_cur = *bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

void signal_when(pid_t child, int signal, const std::string& text, double delay, const std::string& file) {
  const auto ended = [&] {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == child;
  };
  for (int round = 0; round < 12000; ++round) {
    if (ended()) return;
    if (read_file(file).find(text) != std::string::npos) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  if (delay > 0) std::this_thread::sleep_for(std::chrono::duration<double>(delay));
  if (!ended()) kill(child, signal);
}

}  // namespace

CommandResult run_command(const std::vector<std::string>& arguments, const CommandOptions& options) {
  const ScratchDirectory scratch;
  const std::string out = scratch / "out", err = scratch / "err";
  std::vector<std::string> words = {command_path().string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables;
  for (char** variable = environ; *variable; ++variable) variables.emplace_back(*variable);
  for (const auto& [name, value] : options.environment) variables.push_back(name + "=" + value);
  const auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> list;
    for (std::string& string : strings) list.push_back(string.data());
    list.push_back(nullptr);
    return list;
  };
  std::vector<char*> argv = pointers(words), envp = pointers(variables);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  const std::string in = scratch / "in";
  write_file(in, options.input);
  posix_spawn_file_actions_addopen(&files, 0, in.c_str(), O_RDONLY, 0);
  int unread[2] = {-1, -1};
  if (options.reader_gone) {
    if (::pipe2(unread, O_CLOEXEC) != 0) fail<SystemError>("[test] pipe: {}", std::strerror(errno));
    ::close(unread[0]);
    write_file(out, "");
    posix_spawn_file_actions_adddup2(&files, unread[1], 1);
  } else {
    posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT, 0600);
  }
  posix_spawn_file_actions_addopen(&files, 2, err.c_str(), O_WRONLY | O_CREAT, 0600);
  const auto start = std::chrono::steady_clock::now();
  pid_t child = 0;
  std::optional<FileSizeLimit> limit(options.file_size_limit);
  const int error = posix_spawn(&child, words[0].c_str(), &files, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&files);
  if (options.reader_gone) ::close(unread[1]);
  if (error != 0) fail<SystemError>("[test] cannot start {}: {}", words[0], std::strerror(error));
  limit.reset();
  if (!options.interrupt_at.empty()) signal_when(child, SIGINT, options.interrupt_at, 0, err);
  if (!options.kill_at.empty()) signal_when(child, SIGKILL, options.kill_at, options.kill_delay, err);
  int status = 0;
  rusage usage{};
  while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  CommandResult result;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.peak_bytes = int64_t{1024} * usage.ru_maxrss;
  result.out = read_file(out);
  result.err = read_file(err);
  return result;
}

}  // namespace qdqbert::testing
