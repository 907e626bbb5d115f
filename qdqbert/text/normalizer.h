// The BERT normalizer and pre-tokenizer, character by character. The tokenizer takes this road for text that
// its ASCII fast path cannot handle; the rules are the reference's (tests/golden/README.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qdqbert::text {

/// [begin, end) in code points of the text as given.
struct Offset {
  uint32_t begin, end;
  bool operator==(const Offset&) const = default;
};

struct NormalizerOptions {
  bool lower_case = true;
  bool strip_accents = true;
  bool split_cjk = true;
};

/// One normalized character and the position of the source character that it came from.
struct NormalizedChar {
  char32_t value;
  uint32_t source;
};

/// Clean, space out CJK, strip accents, lower-case, in this order. `first` is the position of chars[0] in the
/// text. Appends to `out` after clearing it.
void normalize(const char32_t* chars, size_t count, uint32_t first, const NormalizerOptions& options,
               std::vector<NormalizedChar>& out);

/// Words of normalized text as [begin, end) indices into it: runs between white space,
/// each punctuation character alone.
void split_words(const std::vector<NormalizedChar>& text, std::vector<Offset>& words);

}  // namespace qdqbert::text
