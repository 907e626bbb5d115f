#include "qdqbert/base/utf8.h"

#include <algorithm>

namespace qdqbert {

namespace {

/// Length of the well-formed sequence at `p`, or 0.
size_t sequence_length(const unsigned char* p, const unsigned char* end) {
  const unsigned char lead = *p;
  if (lead < 0x80) return 1;
  const size_t left = static_cast<size_t>(end - p);
  const auto tail = [&](size_t i) { return i < left && (p[i] & 0xc0) == 0x80; };
  if (lead >= 0xc2 && lead <= 0xdf) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    if (lead == 0xe0 && p[1] < 0xa0) return 0;  // overlong
    if (lead == 0xed && p[1] > 0x9f) return 0;  // surrogate
    return 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (lead == 0xf0 && p[1] < 0x90) return 0;  // overlong
    if (lead == 0xf4 && p[1] > 0x8f) return 0;  // past U+10FFFF
    return 4;
  }
  return 0;
}

}  // namespace

size_t find_invalid_utf8(std::string_view text) {
  const auto* begin = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = begin + text.size();
  for (const unsigned char* p = begin; p < end;) {
    const size_t length = sequence_length(p, end);
    if (length == 0) return static_cast<size_t>(p - begin);
    p += length;
  }
  return std::string_view::npos;
}

std::vector<char32_t> decode_utf8(std::string_view text) {
  std::vector<char32_t> out;
  out.reserve(text.size());
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = p + text.size();
  while (p < end) {
    const size_t length = sequence_length(p, end);
    switch (length) {
      case 1:
        out.push_back(*p);
        break;
      case 2:
        out.push_back(((p[0] & 0x1fu) << 6) | (p[1] & 0x3fu));
        break;
      case 3:
        out.push_back(((p[0] & 0x0fu) << 12) | ((p[1] & 0x3fu) << 6) | (p[2] & 0x3fu));
        break;
      case 4:
        out.push_back(((p[0] & 0x07u) << 18) | ((p[1] & 0x3fu) << 12) | ((p[2] & 0x3fu) << 6) |
                      (p[3] & 0x3fu));
        break;
      default:
        out.push_back(0xfffd);
    }
    p += length > 0 ? length : 1;
  }
  return out;
}

void append_utf8(char32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

size_t count_code_points(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

CodePointIndex::CodePointIndex(std::string_view text) : text_(text), size_(count_code_points(text)) {
  if (size_ == text.size()) return;
  table_.reserve(size_ + 1);
  for (size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) table_.push_back(static_cast<uint32_t>(i));
  table_.push_back(static_cast<uint32_t>(text.size()));
}

std::string_view CodePointIndex::slice(size_t begin, size_t end) const {
  end = std::min(end, size_);
  if (begin >= end) return {};
  return text_.substr(byte_offset(begin), byte_offset(end) - byte_offset(begin));
}

}  // namespace qdqbert
