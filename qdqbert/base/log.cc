#include "qdqbert/base/log.h"

#include <mutex>
#include <utility>

namespace qdqbert {

namespace {
std::mutex mutex;
LogSink current;
}  // namespace

LogSink set_log_sink(LogSink sink) {
  const std::lock_guard lock(mutex);
  return std::exchange(current, std::move(sink));
}

void log(LogLevel level, std::string_view line) {
  LogSink sink;
  {
    const std::lock_guard lock(mutex);
    sink = current;
  }
  if (sink) sink(level, line);
}

}  // namespace qdqbert
