// The one exception family of the library. A message is one sentence that starts with the subject in brackets
// and states both values: "[linear] encoder.layer.3 query: weight expects 768 columns, file has 1024".
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace qdqbert {

/// Base of every exception thrown by the library. The command maps InputError, UsageError and SystemError to
/// exit code 2 and everything else to 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A file, a tensor or a value that was handed in is not acceptable.
class InputError : public Error {
 public:
  using Error::Error;
};

/// Flags or arguments contradict each other or do not exist.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// The operating system refused: no such file, no permission, disk full.
class SystemError : public Error {
 public:
  using Error::Error;
};

/// Throws E with a formatted message.
template <class E = InputError, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw E(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace qdqbert
