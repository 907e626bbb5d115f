#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "qdqbert/base/error.h"

namespace qdqbert::io {

/// A message with names out of a file that nobody vouches for, made fit for one line of a terminal: control
/// characters as `\xNN`, ill-formed UTF-8 as U+FFFD, and what is past 800 bytes cut out of the middle.
std::string one_line(std::string_view message);

/// fail() for messages that quote such a file.
template <class... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw InputError(one_line(fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace qdqbert::io
