// Character properties as the reference tokenizer and the SQuAD metrics have them. The versions are theirs,
// not today's: categories of Unicode 8, decomposition and combining classes of 9, lower case of 14/15; `\w`
// and white space of Python 3.11.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace qdqbert::text {

/// Bits of properties().
enum Property : uint16_t {
  kDropped = 1 << 0,       ///< removed when text is cleaned: controls, format characters, private use, U+FFFD
  kToSpace = 1 << 1,       ///< becomes U+0020 when text is cleaned
  kCjk = 1 << 2,           ///< gets a space on both sides
  kSplitSpace = 1 << 3,    ///< separates words
  kPunctuation = 1 << 4,   ///< is a word of its own
  kStrippedMark = 1 << 5,  ///< removed with accents
  kDecomposes = 1 << 6,    ///< has an entry in decompose(); Hangul syllables are arithmetic and not flagged
  kHasLower = 1 << 7,      ///< has an entry in lower()
  kCombining = 1 << 8,     ///< canonical combining class is not 0
  kWordCharacter = 1 << 9,  ///< Python's `\w`
  kPythonSpace = 1 << 10,   ///< separates words for Python's str.split
  kSigmaCased = 1 << 11,
  kSigmaIgnorable = 1 << 12,
};

uint16_t properties(char32_t c);
/// Full canonical decomposition. Valid for characters with kDecomposes.
std::span<const uint32_t> decompose(char32_t c);
/// Lower case of one character on its own (may be two characters); valid for characters with kHasLower.
std::span<const uint32_t> lower(char32_t c);
int combining_class(char32_t c);

/// Python's str.lower(): lower() per character, but a sigma that ends a word becomes U+03C2.
std::string python_lower(std::string_view text);

}  // namespace qdqbert::text
