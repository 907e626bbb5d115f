#include "cli/terminal.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include <unistd.h>

namespace qdqbert::cli {

namespace {

std::atomic<bool> line_open{false};
std::mutex screen;
volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int) {
  if (interrupted) std::_Exit(130);
  interrupted = 1;
}

void close_line() {
  if (line_open.exchange(false)) std::fputs("\n", stderr);
}

}  // namespace

TerminalLog::TerminalLog() {
  const bool verbose = std::getenv("QDQBERT_VERBOSE") != nullptr;
  set_log_sink([verbose](LogLevel level, std::string_view line) {
    if (level == LogLevel::kDebug && !verbose) return;
    const std::lock_guard lock(screen);
    close_line();
    const char* prefix = level == LogLevel::kWarning ? "warning: "
                         : level == LogLevel::kError ? "error: "
                                                     : "";
    fmt::print(stderr, "{}{}\n", prefix, line);
  });
}

TerminalLog::~TerminalLog() {
  finish_line();
  set_log_sink({});
}

void TerminalLog::finish_line() const {
  const std::lock_guard lock(screen);
  close_line();
}

TerminalProgress::TerminalProgress() : terminal_(::isatty(STDERR_FILENO) == 1) {
  interrupted = 0;
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
}

TerminalProgress::~TerminalProgress() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  const std::lock_guard lock(screen);
  close_line();
}

ProgressSink TerminalProgress::sink() {
  return [this](std::string_view what, int64_t done, int64_t total) { report(what, done, total); };
}

void TerminalProgress::report(std::string_view what, int64_t done, int64_t total) {
  if (interrupted) throw Interrupted{};
  const auto now = Clock::now();
  const bool new_phase = what != phase_;
  const bool end = total > 0 && done >= total;
  if (new_phase) {
    phase_ = what;
    started_ = now;
  }
  const auto pause = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000);
  if (!new_phase && !end && now - shown_ < pause) return;
  shown_ = now;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  std::string line = fmt::format("{}: {}", phase_, done);
  if (total > 0) {
    const double share = std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0);
    const int filled = static_cast<int>(share * 30);
    line = fmt::format("{}: {:>3.0f}% ", phase_, share * 100);
    if (terminal_)
      line += fmt::format("[{}{}] ", std::string(static_cast<size_t>(filled), '#'),
                          std::string(static_cast<size_t>(30 - filled), '.'));
    line += fmt::format("{}/{}", done, total);
    if (done > 0) line += fmt::format(", {}", duration_text(seconds));
    if (done > 0 && !end) line += fmt::format(" < {}", duration_text(seconds * (1 - share) / share));
  }
  const std::lock_guard lock(screen);
  if (terminal_) {
    if (new_phase) close_line();
    fmt::print(stderr, "\r\x1b[K{}", line);
    line_open = true;
    if (end) close_line();
  } else {
    fmt::print(stderr, "{}\n", line);
  }
  std::fflush(stderr);
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace qdqbert::cli
