#include "qdqbert/text/tokenizer.h"

#include <algorithm>
#include <bit>

#include "qdqbert/base/error.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/text/unicode.h"

namespace qdqbert::text {

namespace {

/// Longer words (in normalized characters) are [UNK] in the reference.
constexpr size_t kLongestWord = 100;

/// Continuation pieces are stored behind this byte, which cannot occur in
/// a word: the normalizer drops U+0001.
constexpr char kContinuation = '\x01';

Trie build_trie(const Vocabulary& vocabulary) {
  std::vector<std::pair<std::string, int32_t>> keys;
  keys.reserve(vocabulary.size());
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const std::string& token = vocabulary.tokens()[i];
    if (token.empty() || token.find('\0') != std::string::npos) continue;  // dropped from texts
    if (token.size() > 2 && token[0] == '#' && token[1] == '#') {
      keys.emplace_back(kContinuation + token.substr(2), static_cast<int32_t>(i));
    } else if (token[0] != kContinuation) {
      keys.emplace_back(token, static_cast<int32_t>(i));
    }
  }
  std::sort(keys.begin(), keys.end());
  return Trie(keys);
}

bool is_ascii_word(const std::string& token) {
  return std::all_of(token.begin(), token.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  });
}

WordTable build_words(const Vocabulary& vocabulary) {
  std::vector<std::pair<std::string, int32_t>> words;
  for (size_t i = 0; i < vocabulary.size(); ++i)
    if (const std::string& token = vocabulary.tokens()[i];
        !token.empty() && token.size() <= WordTable::kLongest && is_ascii_word(token))
      words.emplace_back(token, static_cast<int32_t>(i));
  return WordTable(words);
}

/// Room for `more` tokens, at least doubling so that many small texts can go to one list.
void make_room(Tokens& out, size_t more) {
  const size_t needed = out.size() + more;
  if (needed <= out.ids.capacity() && needed <= out.offsets.capacity()) return;
  const size_t capacity = std::max(needed, 2 * out.ids.capacity());
  out.ids.reserve(capacity);
  out.offsets.reserve(capacity);
}

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

}  // namespace

/// Tokens of one block before they are appended to those of the text: a block has no more tokens than bytes.
struct Tokenizer::BlockTokens {
  struct Start {
    uint16_t at;      ///< byte of the block
    uint16_t length;  ///< of a word (64: at least 64), 0 for punctuation
    uint32_t slot;    ///< in the table of words
  };
  size_t count = 0;
  int32_t ids[kBlock];
  Offset offsets[kBlock];
  Start starts[kBlock];

  void push(int32_t id, uint32_t begin, uint32_t end) {
    ids[count] = id;
    offsets[count] = {begin, end};
    ++count;
  }
  void move_to(Tokens& out) {
    out.ids.insert(out.ids.end(), ids, ids + count);
    out.offsets.insert(out.offsets.end(), offsets, offsets + count);
    count = 0;
  }
};

struct Tokenizer::SlowScratch {
  std::vector<char32_t> chars;
  std::vector<NormalizedChar> normalized;
  std::vector<Offset> words;
  std::string bytes;
  std::vector<uint32_t> char_of_byte;
};

Tokenizer::Tokenizer(Vocabulary vocabulary, TokenizerOptions options)
    : vocabulary_(std::move(vocabulary)),
      options_(std::move(options)),
      words_(build_words(vocabulary_)),
      trie_(build_trie(vocabulary_)),
      classify_(classify_bytes()) {
  const auto special = [&](const std::string& token) {
    const int32_t id = vocabulary_.id(token);
    if (id < 0)
      fail("[tokenizer] the special token {} is not among the {} tokens of the vocabulary", token,
           vocabulary_.size());
    const bool printable =
        std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < '\x7f'; });
    if (!printable || is_ascii_word(token.substr(0, 1)))
      fail(
          "[tokenizer] the special token {} must be printable ASCII without spaces "
          "and begin with punctuation",
          token);
    specials_.emplace_back(token, id);
    begins_special_[static_cast<size_t>(token[0])] = true;
    return id;
  };
  unk_ = special(options_.unk);
  sep_ = special(options_.sep);
  pad_ = special(options_.pad);
  cls_ = special(options_.cls);
  mask_ = special(options_.mask);
  std::stable_sort(specials_.begin(), specials_.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  continuation_ = trie_.step(trie_.root(), static_cast<unsigned char>(kContinuation));
  for (size_t c = 0; c < punctuation_.size(); ++c) {
    const int32_t id = vocabulary_.id(std::string(1, static_cast<char>(c)));
    punctuation_[c] = id >= 0 ? id : unk_;
  }
}

Tokenizer Tokenizer::from_vocabulary(const std::filesystem::path& path, TokenizerOptions options) {
  return Tokenizer(Vocabulary::read(path), std::move(options));
}

NormalizerOptions Tokenizer::normalizer_options() const {
  return {options_.lower_case, options_.strip_accents.value_or(options_.lower_case), options_.split_cjk};
}

bool Tokenizer::is_special(int32_t id) const {
  return id == cls_ || id == sep_ || id == pad_ || id == unk_ || id == mask_;
}

/// Bytes of the special token that `text` begins with, 0 for none.
size_t Tokenizer::special_length(const char* text, size_t size, int32_t& id) const {
  for (const auto& [token, special] : specials_)
    if (std::string_view(text, size).substr(0, token.size()) == token) {
      id = special;
      return token.size();
    }
  return 0;
}

Tokens Tokenizer::tokenize(std::string_view text) const {
  Tokens out;
  tokenize(text, out);
  return out;
}

// Text is taken in blocks that end at white space: normalization can reach across characters, but never
// across white space. A stretch longer than a block goes the slow road whole.
void Tokenizer::tokenize(std::string_view text, Tokens& out) const {
  ByteClasses classes;
  SlowScratch scratch;
  size_t continuation_bytes = 0;  // bytes minus code points so far
  for (size_t at = 0; at < text.size();) {
    size_t size = std::min(kBlock, text.size() - at);
    if (at + size < text.size()) {
      size_t cut = size;
      while (cut > 0 && !is_space(text[at + cut - 1])) --cut;
      if (cut == 0) {
        while (at + size < text.size() && !is_space(text[at + size])) ++size;
        const std::string_view chunk = text.substr(at, size);
        const size_t characters =
            tokenize_slowly(chunk, static_cast<uint32_t>(at - continuation_bytes), scratch, out);
        continuation_bytes += size - characters;
        at += size;
        continue;
      }
      size = cut;
      if (at == 0) make_room(out, text.size() / 4);
    }
    tokenize_block(text.data() + at, size, static_cast<uint32_t>(at), classes, scratch, continuation_bytes,
                   out);
    at += size;
  }
}

namespace {

/// Position of the first bit that is set at or after `from`, or `size`.
size_t next_bit(const uint64_t* bits, size_t from, size_t size) {
  for (size_t w = from / 64; w * 64 < size; ++w) {
    uint64_t word = bits[w];
    if (w == from / 64) word &= ~uint64_t{0} << (from % 64);
    if (word != 0) return std::min(size, w * 64 + static_cast<size_t>(std::countr_zero(word)));
  }
  return size;
}

/// 64 bits from bit `at` on.
uint64_t bits_at(const uint64_t* bits, size_t at) {
  const size_t shift = at % 64;
  return bits[at / 64] >> shift | (bits[at / 64 + 1] << 1) << (63 - shift);
}

}  // namespace

void Tokenizer::tokenize_block(const char* text, size_t size, uint32_t first, ByteClasses& classes,
                               SlowScratch& scratch, size_t& continuation_bytes, Tokens& out) const {
  classify_(reinterpret_cast<const unsigned char*>(text), size, options_.lower_case, &classes);
  BlockTokens tokens;
  size_t plain = 0;  // everything before is done
  if (classes.any_other) {
    make_room(out, size / 4);
    for (size_t at = next_bit(classes.other, 0, size); at < size; at = next_bit(classes.other, plain, size)) {
      size_t begin = at;
      while (begin > plain && !is_space(text[begin - 1])) --begin;
      const size_t end = next_bit(classes.space, at, size);
      tokenize_plain(text, plain, begin, static_cast<uint32_t>(first - continuation_bytes), classes, tokens);
      tokens.move_to(out);
      continuation_bytes +=
          end - begin -
          tokenize_slowly(std::string_view(text + begin, end - begin),
                          static_cast<uint32_t>(first + begin - continuation_bytes), scratch, out);
      plain = end;
    }
  }
  tokenize_plain(text, plain, size, static_cast<uint32_t>(first - continuation_bytes), classes, tokens);
  tokens.move_to(out);
}

/// Bytes [from, to) of a block, which begin and end at white space or the text's ends and hold none of the
/// class "other"; byte i of the block is code point `first` + i.
void Tokenizer::tokenize_plain(const char* text, size_t from, size_t to, uint32_t first,
                               const ByteClasses& classes, BlockTokens& tokens) const {
  // First only where everything begins, so that no branch waits for the table of words.
  size_t count = 0;
  for (size_t w = from / 64; w * 64 < to; ++w) {
    const uint64_t word = classes.word[w];
    const uint64_t before = w > 0 ? classes.word[w - 1] >> 63 : 0;
    // First letters of words, and punctuation.
    uint64_t starts = (word & ~(word << 1 | before)) | ~(word | classes.space[w] | classes.other[w]);
    if (w == from / 64) starts &= ~uint64_t{0} << (from % 64);
    if (to - w * 64 < 64) starts &= ~(~uint64_t{0} << (to % 64));
    for (; starts != 0; starts &= starts - 1) {
      const size_t at = w * 64 + static_cast<size_t>(std::countr_zero(starts));
      const auto length = static_cast<size_t>(std::countr_one(bits_at(classes.word, at)));
      const uint32_t slot = words_.slot(classes.folded + at, std::min(length, WordTable::kLongest));
      words_.prefetch(slot);
      tokens.starts[count++] = {static_cast<uint16_t>(at), static_cast<uint16_t>(length), slot};
    }
  }
  size_t resume = from;  // behind the last special token
  for (size_t t = 0; t < count; ++t) {
    auto [at, length, slot] = tokens.starts[t];
    if (at < resume) {
      // Inside a special token; what is left of a word that began in it is a word.
      if (at + length <= resume) continue;
      length = static_cast<uint16_t>(at + length - resume);
      at = static_cast<uint16_t>(resume);
      slot = words_.slot(classes.folded + at, std::min<size_t>(length, WordTable::kLongest));
    }
    const uint32_t begin = first + at;
    if (length == 0) {
      const unsigned char c = classes.folded[at];
      int32_t id = punctuation_[c];
      size_t end = at + 1u;
      if (begins_special_[c]) {
        if (const size_t special = special_length(text + at, to - at, id); special > 0)
          resume = end = at + special;
      }
      tokens.push(id, begin, first + static_cast<uint32_t>(end));
      continue;
    }
    if (length <= WordTable::kLongest) {
      const int32_t id = words_.find(classes.folded + at, length, slot);
      if (id >= 0) {
        tokens.push(id, begin, begin + length);
        continue;
      }
    }
    size_t whole = length;  // up to 64 were counted
    while (classes.word[(at + whole) / 64] >> ((at + whole) % 64) & 1)
      whole += static_cast<size_t>(std::countr_one(bits_at(classes.word, at + whole)));
    pieces_of_ascii_word(classes.folded + at, whole, begin, tokens);
  }
}

void Tokenizer::pieces_of_ascii_word(const unsigned char* word, size_t length, uint32_t begin,
                                     BlockTokens& tokens) const {
  const size_t before = tokens.count;
  size_t from = 0;
  while (length <= kLongestWord && from < length) {
    uint32_t state = from == 0 ? trie_.root() : continuation_;
    size_t best_end = from;
    int32_t best = -1;
    for (size_t i = from; i < length && state != Trie::kNowhere; ++i) {
      state = trie_.step(state, word[i]);
      if (state != Trie::kNowhere && trie_.value(state) >= 0) {
        best = trie_.value(state);
        best_end = i + 1;
      }
    }
    if (best < 0) break;
    tokens.push(best, begin + static_cast<uint32_t>(from), begin + static_cast<uint32_t>(best_end));
    from = best_end;
  }
  if (from == length) return;
  tokens.count = before;
  tokens.push(unk_, begin, begin + static_cast<uint32_t>(length));
}

/// Text of any kind; returns its number of code points.
size_t Tokenizer::tokenize_slowly(std::string_view chunk, uint32_t begin, SlowScratch& scratch,
                                  Tokens& out) const {
  scratch.chars = decode_utf8(chunk);
  const std::vector<char32_t>& chars = scratch.chars;
  const auto run = [&](size_t from, size_t to) {
    if (from == to) return;
    normalize(chars.data() + from, to - from, begin + static_cast<uint32_t>(from), normalizer_options(),
              scratch.normalized);
    split_words(scratch.normalized, scratch.words);
    for (const Offset word : scratch.words)
      pieces_of_word(scratch.normalized.data() + word.begin, word.end - word.begin, scratch, out);
  };
  size_t done = 0;
  for (size_t i = 0; i < chars.size();) {
    // Special tokens are ASCII, so a byte stands for a character here and there.
    const auto matches = [&](const std::string& token) {
      return token.size() <= chars.size() - i &&
             std::equal(token.begin(), token.end(), chars.begin() + static_cast<std::ptrdiff_t>(i),
                        [](char a, char32_t b) { return static_cast<unsigned char>(a) == b; });
    };
    const auto special = chars[i] < begins_special_.size() && begins_special_[chars[i]]
                             ? std::find_if(specials_.begin(), specials_.end(),
                                            [&](const auto& s) { return matches(s.first); })
                             : specials_.end();
    if (special == specials_.end()) {
      ++i;
      continue;
    }
    run(done, i);
    const auto at = begin + static_cast<uint32_t>(i);
    out.ids.push_back(special->second);
    out.offsets.push_back({at, at + static_cast<uint32_t>(special->first.size())});
    i += special->first.size();
    done = i;
  }
  run(done, chars.size());
  return chars.size();
}

void Tokenizer::pieces_of_word(const NormalizedChar* word, size_t length, SlowScratch& scratch,
                               Tokens& out) const {
  const size_t before = out.size();
  const auto offset = [&](size_t from, size_t to) {
    return Offset{word[from].source, word[to - 1].source + 1};
  };
  size_t from_char = 0;
  if (length <= kLongestWord) {
    scratch.bytes.clear();
    scratch.char_of_byte.clear();
    for (size_t c = 0; c < length; ++c) {
      append_utf8(word[c].value, scratch.bytes);
      scratch.char_of_byte.resize(scratch.bytes.size(), static_cast<uint32_t>(c));
    }
    size_t from = 0;
    while (from < scratch.bytes.size()) {
      uint32_t state = from == 0 ? trie_.root() : continuation_;
      size_t best_end = from;
      int32_t best = -1;
      for (size_t i = from; i < scratch.bytes.size() && state != Trie::kNowhere; ++i) {
        state = trie_.step(state, static_cast<unsigned char>(scratch.bytes[i]));
        if (state != Trie::kNowhere && trie_.value(state) >= 0) {
          best = trie_.value(state);
          best_end = i + 1;
        }
      }
      if (best < 0) break;
      const size_t to_char = scratch.char_of_byte[best_end - 1] + 1u;
      out.ids.push_back(best);
      out.offsets.push_back(offset(from_char, to_char));
      from = best_end;
      from_char = to_char;
    }
  }
  if (from_char == length) return;
  out.ids.resize(before);
  out.offsets.resize(before);
  out.ids.push_back(unk_);
  out.offsets.push_back(offset(0, length));
}

}  // namespace qdqbert::text
