// What a person sees while the command works: log lines, and progress as a bar on
// a terminal or as plain lines elsewhere.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>

#include "qdqbert/base/log.h"

namespace qdqbert::cli {

/// Thrown out of a progress report after Ctrl-C, so that work stops where nothing is half-written.
struct Interrupted {};

/// Installs the log sink (stderr) for its lifetime.
class TerminalLog {
 public:
  TerminalLog();
  ~TerminalLog();
  TerminalLog(const TerminalLog&) = delete;
  TerminalLog& operator=(const TerminalLog&) = delete;
  /// Ends a half-drawn progress line.
  void finish_line() const;
};

/// Names of the levels, in the order of LogLevel.
constexpr const char* kLogLevels[] = {"debug", "info", "warning", "error"};
/// Lines below the level of this name are not shown; without a call those below "info" are not.
void show_log_from(std::string_view level);

/// Progress of one verb: `sink()` is handed to the library. On a terminal one line is redrawn with rate and
/// time left; elsewhere a line appears at the start, at least 10 s apart and at the end. A first Ctrl-C makes
/// the next report throw Interrupted, a second one ends the process.
/// Make it before other threads are started: they inherit that interrupts go to a thread of its own.
class TerminalProgress {
 public:
  TerminalProgress();
  ~TerminalProgress();
  ProgressSink sink();
  /// Shows nothing from here on; interrupts are still noticed.
  void hide() { hidden_ = true; }
  /// Stands behind the numbers from the next report on; "" for nothing.
  void set_detail(std::string detail) { detail_ = std::move(detail); }
  /// Throws Interrupted after Ctrl-C; shows nothing.
  void check() const;

 private:
  void report(std::string_view what, int64_t done, int64_t total);
  using Clock = std::chrono::steady_clock;
  std::string phase_, detail_;
  Clock::time_point started_{}, shown_{};
  int64_t started_at_ = 0;  ///< done when the phase began, or went on
  bool terminal_, hidden_ = false;
  std::atomic<bool> stopping_{false};
  std::thread interrupts_;
};

/// The reader of standard output has gone, as `head` does when it has seen enough: nothing is wrong, and nobody
/// is left to write for.
struct ReaderGone {};

/// Writes to standard output, in a buffer at first. Throws SystemError, or ReaderGone.
void write_output(std::string_view text);
/// Hands on what the buffer holds; throws as write_output does.
void flush_output();

/// Writes to standard error; a failure is ignored.
void print_error(const std::string& text);

/// "1:02:03" or "0:07"
std::string duration_text(double seconds);

}  // namespace qdqbert::cli
