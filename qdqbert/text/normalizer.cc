#include "qdqbert/text/normalizer.h"

#include <algorithm>

#include "qdqbert/text/unicode.h"

namespace qdqbert::text {

namespace {

// Hangul syllables decompose by arithmetic (Unicode chapter 3.12).
constexpr char32_t kHangulFirst = 0xac00, kHangulLast = 0xd7a3;

void append_decomposed(NormalizedChar c, std::vector<NormalizedChar>& out) {
  if (c.value >= kHangulFirst && c.value <= kHangulLast) {
    const char32_t index = c.value - kHangulFirst;
    out.push_back({0x1100 + index / 588, c.source});
    out.push_back({0x1161 + index % 588 / 28, c.source});
    if (index % 28 != 0) out.push_back({0x11a7 + index % 28, c.source});
  } else if (properties(c.value) & kDecomposes) {
    for (const uint32_t part : decompose(c.value)) out.push_back({part, c.source});
  } else {
    out.push_back(c);
  }
}

/// Canonical ordering sorts runs of combining characters by class. As in the reference, sources do not move
/// with the characters: the characters that came first from their source take the sources in order of
/// position, and each further one (it has the source of the character before it) that of its new neighbour.
void order_marks(std::vector<NormalizedChar>& text) {
  struct Mark {
    int combining_class;
    char32_t value;
    bool further;
  };
  std::vector<Mark> run;
  std::vector<uint32_t> sources;
  for (size_t i = 0; i < text.size();) {
    if (!(properties(text[i].value) & kCombining)) {
      ++i;
      continue;
    }
    size_t end = i;
    run.clear();
    sources.clear();
    for (; end < text.size() && (properties(text[end].value) & kCombining); ++end) {
      const bool further = end > 0 && text[end].source == text[end - 1].source;
      run.push_back({combining_class(text[end].value), text[end].value, further});
      if (!further) sources.push_back(text[end].source);
    }
    std::stable_sort(run.begin(), run.end(),
                     [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
    size_t next = 0;
    for (size_t j = i; j < end; ++j) {
      const Mark& mark = run[j - i];
      text[j].value = mark.value;
      if (!mark.further) {
        text[j].source = sources[next++];
      } else if (j > 0) {
        text[j].source = text[j - 1].source;
      }
    }
    i = end;
  }
}

}  // namespace

void normalize(const char32_t* chars, size_t count, uint32_t first, const NormalizerOptions& options,
               std::vector<NormalizedChar>& out) {
  out.clear();
  for (size_t i = 0; i < count; ++i) {
    const uint32_t source = first + static_cast<uint32_t>(i);
    const uint16_t p = properties(chars[i]);
    if (p & kDropped) continue;
    if (p & kToSpace) {
      out.push_back({U' ', source});
    } else if ((p & kCjk) && options.split_cjk) {
      out.push_back({U' ', source});
      out.push_back({chars[i], source});
      out.push_back({U' ', source});
    } else {
      out.push_back({chars[i], source});
    }
  }
  if (options.strip_accents) {
    std::vector<NormalizedChar> decomposed;
    decomposed.reserve(out.size());
    for (const NormalizedChar& c : out) append_decomposed(c, decomposed);
    order_marks(decomposed);
    out.clear();
    for (const NormalizedChar& c : decomposed)
      if (!(properties(c.value) & kStrippedMark)) out.push_back(c);
  }
  if (options.lower_case) {
    size_t first_moved = 0;
    std::vector<NormalizedChar> rest;  // from the first character on whose lower case is two characters
    for (size_t i = 0; i < out.size(); ++i) {
      const NormalizedChar c = out[i];
      const bool maps = properties(c.value) & kHasLower;
      const std::span<const uint32_t> mapped = maps ? lower(c.value) : std::span<const uint32_t>();
      if (rest.empty() && mapped.size() <= 1) {
        if (maps) out[i].value = mapped[0];
        continue;
      }
      if (rest.empty()) {
        rest.reserve(2 * (out.size() - i));
        first_moved = i;
      }
      if (!maps) rest.push_back(c);
      for (const uint32_t part : mapped) rest.push_back({part, c.source});
    }
    if (!rest.empty()) {
      out.resize(first_moved);
      out.insert(out.end(), rest.begin(), rest.end());
    }
  }
}

void split_words(const std::vector<NormalizedChar>& text, std::vector<Offset>& words) {
  words.clear();
  uint32_t begin = 0;
  const auto close = [&](uint32_t end) {
    if (end > begin) words.push_back({begin, end});
  };
  for (uint32_t i = 0; i < text.size(); ++i) {
    const uint16_t p = properties(text[i].value);
    if (p & kSplitSpace) {
      close(i);
      begin = i + 1;
    } else if (p & kPunctuation) {
      close(i);
      words.push_back({i, i + 1});
      begin = i + 1;
    }
  }
  close(static_cast<uint32_t>(text.size()));
}

}  // namespace qdqbert::text
