// The library never prints: it hands lines to a sink that the program may set.
#pragma once

#include <functional>
#include <string_view>

#include <fmt/format.h>

namespace qdqbert {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

using LogSink = std::function<void(LogLevel, std::string_view)>;

/// Replaces the sink (default: lines are dropped) and returns the previous one. Thread-safe.
LogSink set_log_sink(LogSink sink);

void log(LogLevel level, std::string_view line);

template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  log(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}

/// Long work reports here: `done` of `total` units (total 0: unknown)
/// of the phase `what`. May throw to stop the work.
using ProgressSink = std::function<void(std::string_view what, int64_t done, int64_t total)>;

}  // namespace qdqbert
