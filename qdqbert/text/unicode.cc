#include "qdqbert/text/unicode.h"

#include <algorithm>
#include <iterator>

#include "qdqbert/base/utf8.h"

namespace qdqbert::text {

namespace {

struct ClassRange {
  uint32_t first, last;
  uint8_t value;
};

#include "qdqbert/text/unicode_tables.inc"

template <size_t n, size_t starts, size_t values>
std::span<const uint32_t> look_up(const uint32_t (&keys)[n], const uint16_t (&start)[starts],
                                  const uint32_t (&value)[values], char32_t c) {
  const uint32_t* found = std::lower_bound(std::begin(keys), std::end(keys), static_cast<uint32_t>(c));
  if (found == std::end(keys) || *found != c) return {};
  const auto i = static_cast<size_t>(found - keys);
  return {value + start[i], value + start[i + 1]};
}

}  // namespace

uint16_t properties(char32_t c) {
  return c < 0x110000 ? kProperties[kBlockOf[c >> 7]][c & 127] : 0;
}

std::span<const uint32_t> decompose(char32_t c) {
  return look_up(kDecompositionKeys, kDecompositionStarts, kDecompositionValues, c);
}

std::span<const uint32_t> lower(char32_t c) {
  return look_up(kLowerKeys, kLowerStarts, kLowerValues, c);
}

int combining_class(char32_t c) {
  const auto* found =
      std::upper_bound(std::begin(kCombiningClasses), std::end(kCombiningClasses), static_cast<uint32_t>(c),
                       [](uint32_t v, const ClassRange& range) { return v < range.first; });
  if (found == std::begin(kCombiningClasses)) return 0;
  --found;
  return c <= found->last ? found->value : 0;
}

namespace {

/// True when `at` is preceded by a cased character (ignorable ones skipped) and not followed by one.
bool is_final_sigma(const std::vector<char32_t>& chars, size_t at) {
  size_t i = at;
  while (i > 0 && (properties(chars[i - 1]) & kSigmaIgnorable)) --i;
  if (i == 0 || !(properties(chars[i - 1]) & kSigmaCased)) return false;
  i = at + 1;
  while (i < chars.size() && (properties(chars[i]) & kSigmaIgnorable)) ++i;
  return i == chars.size() || !(properties(chars[i]) & kSigmaCased);
}

}  // namespace

std::string python_lower(std::string_view text) {
  const bool ascii =
      std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  std::string out;
  out.reserve(text.size());
  if (ascii) {
    for (char c : text) out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return out;
  }
  const std::vector<char32_t> chars = decode_utf8(text);
  for (size_t i = 0; i < chars.size(); ++i) {
    if (chars[i] == 0x3a3) {
      append_utf8(is_final_sigma(chars, i) ? 0x3c2 : 0x3c3, out);
    } else if (properties(chars[i]) & kHasLower) {
      for (const uint32_t c : lower(chars[i])) append_utf8(c, out);
    } else {
      append_utf8(chars[i], out);
    }
  }
  return out;
}

}  // namespace qdqbert::text
