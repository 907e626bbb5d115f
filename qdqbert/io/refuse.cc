#include "qdqbert/io/refuse.h"

#include "qdqbert/base/utf8.h"

namespace qdqbert::io {

std::string one_line(std::string_view message) {
  constexpr size_t kLongest = 800, kHead = 500, kTail = 250;
  std::string shortened;
  if (message.size() > kLongest) {
    shortened = fmt::format("{} ... {}", message.substr(0, kHead), message.substr(message.size() - kTail));
    message = shortened;
  }
  std::string out;
  for (const char32_t c : decode_utf8(message)) {
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    } else {
      append_utf8(c, out);
    }
  }
  return out;
}

}  // namespace qdqbert::io
