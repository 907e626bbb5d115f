#include "qdqbert/text/tokenizer.h"

#include <algorithm>

#include "qdqbert/base/error.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/text/unicode.h"

namespace qdqbert::text {

namespace {

/// Longer words (in normalized characters) are [UNK] in the reference.
constexpr size_t kLongestWord = 100;

/// Continuation pieces are stored behind this byte, which cannot occur in a word: the normalizer drops
/// U+0001.
constexpr char kContinuation = '\x01';

enum ByteClass : uint8_t {
  kWordByte,
  kSpaceByte,
  kPunctuationByte,
  kMaybeSpecial,  ///< first byte of a special token, itself punctuation
  kOtherByte,     ///< not ASCII, or a control character: the slow road
};

Trie build_trie(const Vocabulary& vocabulary) {
  std::vector<std::pair<std::string, int32_t>> keys;
  keys.reserve(vocabulary.size());
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const std::string& token = vocabulary.tokens()[i];
    if (token.size() > 2 && token[0] == '#' && token[1] == '#') {
      keys.emplace_back(kContinuation + token.substr(2), static_cast<int32_t>(i));
    } else if (token[0] != kContinuation) {
      keys.emplace_back(token, static_cast<int32_t>(i));
    }
  }
  std::sort(keys.begin(), keys.end());
  return Trie(keys);
}

}  // namespace

struct Tokenizer::SlowScratch {
  std::vector<char32_t> chars;
  std::vector<NormalizedChar> normalized;
  std::vector<Offset> words;
  std::string bytes;
  std::vector<uint32_t> char_of_byte;
};

Tokenizer::Tokenizer(Vocabulary vocabulary, TokenizerOptions options)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)), trie_(build_trie(vocabulary_)) {
  const auto special = [&](const std::string& token) {
    const int32_t id = vocabulary_.id(token);
    if (id < 0)
      fail("[tokenizer] the special token {} is not among the {} tokens of the vocabulary", token,
           vocabulary_.size());
    specials_.emplace_back(token, id);
    return id;
  };
  unk_ = special(options_.unk);
  sep_ = special(options_.sep);
  pad_ = special(options_.pad);
  cls_ = special(options_.cls);
  mask_ = special(options_.mask);
  continuation_ = trie_.step(trie_.root(), static_cast<unsigned char>(kContinuation));
  for (int b = 0; b < 256; ++b) {
    fold_[static_cast<size_t>(b)] =
        static_cast<uint8_t>(options_.lower_case && b >= 'A' && b <= 'Z' ? b + 32 : b);
    uint8_t& kind = class_[static_cast<size_t>(b)];
    const uint16_t p = properties(static_cast<char32_t>(b));
    if (b >= 0x80 || (p & kDropped)) {
      kind = kOtherByte;
    } else if (p & (kToSpace | kSplitSpace)) {
      kind = kSpaceByte;
    } else {
      kind = p & kPunctuation ? kPunctuationByte : kWordByte;
    }
  }
  for (const auto& [token, id] : specials_) {
    uint8_t& kind = class_[static_cast<unsigned char>(token[0])];
    if (kind != kPunctuationByte && kind != kMaybeSpecial)
      fail("[tokenizer] the special token {} must begin with ASCII punctuation", token);
    kind = kMaybeSpecial;
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

Tokenizer::SpecialMatch Tokenizer::special_at(std::string_view text, size_t position) const {
  SpecialMatch best;
  for (const auto& [token, id] : specials_)
    if (token.size() > best.length && text.compare(position, token.size(), token) == 0)
      best = {token.size(), id};
  return best;
}

Tokens Tokenizer::tokenize(std::string_view text) const {
  Tokens out;
  tokenize(text, out);
  return out;
}

// The text is cut into chunks at white space; a chunk of plain ASCII is matched byte by byte against the
// trie. As soon as a chunk shows anything else, what it gave so far is taken back and the whole chunk goes
// the slow road: normalization can reach across characters, but never across white space.
void Tokenizer::tokenize(std::string_view text, Tokens& out) const {
  SlowScratch scratch;
  const size_t expected = out.size() + text.size() / 4 + 8;
  if (out.ids.capacity() < expected) {
    out.ids.reserve(expected);
    out.offsets.reserve(expected);
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  const size_t size = text.size();
  size_t extra = 0;  // bytes minus code points before the current chunk
  size_t i = 0;
  while (i < size) {
    if (class_[bytes[i]] == kSpaceByte) {
      ++i;
      continue;
    }
    const size_t chunk = i;
    const size_t tokens_before = out.size();
    bool plain = true;
    while (i < size) {
      const size_t begin = i;
      uint32_t state = trie_.root();
      uint8_t kind = kSpaceByte;
      while (i < size && (kind = class_[bytes[i]]) == kWordByte) {
        state = trie_.step(state, fold_[bytes[i]]);
        if (state == Trie::kNowhere) break;
        ++i;
      }
      if (state == Trie::kNowhere)
        while (i < size && (kind = class_[bytes[i]]) == kWordByte) ++i;
      if (i == size) kind = kSpaceByte;
      if (i > begin) {
        if (kind == kOtherByte) {
          plain = false;
          break;
        }
        const auto first = static_cast<uint32_t>(begin - extra);
        const int32_t id = trie_.value(state);
        if (id >= 0 && i - begin <= kLongestWord) {
          out.ids.push_back(id);
          out.offsets.push_back({first, static_cast<uint32_t>(i - extra)});
        } else {
          pieces_of_ascii_word(text.data() + begin, i - begin, first, out);
        }
      }
      if (kind == kSpaceByte) break;
      if (kind == kOtherByte) {
        plain = false;
        break;
      }
      if (kind == kMaybeSpecial) {
        if (const SpecialMatch special = special_at(text, i); special.length > 0) {
          out.ids.push_back(special.id);
          out.offsets.push_back(
              {static_cast<uint32_t>(i - extra), static_cast<uint32_t>(i + special.length - extra)});
          i += special.length;
          continue;
        }
      }
      const uint32_t mark = trie_.step(trie_.root(), bytes[i]);
      const int32_t id = mark == Trie::kNowhere ? -1 : trie_.value(mark);
      out.ids.push_back(id >= 0 ? id : unk_);
      out.offsets.push_back({static_cast<uint32_t>(i - extra), static_cast<uint32_t>(i + 1 - extra)});
      ++i;
    }
    if (plain) continue;
    out.ids.resize(tokens_before);
    out.offsets.resize(tokens_before);
    while (i < size && class_[bytes[i]] != kSpaceByte) ++i;
    const std::string_view whole = text.substr(chunk, i - chunk);
    tokenize_slowly(whole, static_cast<uint32_t>(chunk - extra), scratch, out);
    extra += whole.size() - scratch.chars.size();
  }
}

void Tokenizer::pieces_of_ascii_word(const char* word, size_t length, uint32_t begin, Tokens& out) const {
  const size_t before = out.size();
  size_t from = 0;
  while (length <= kLongestWord && from < length) {
    uint32_t state = from == 0 ? trie_.root() : continuation_;
    size_t best_end = from;
    int32_t best = -1;
    for (size_t i = from; i < length && state != Trie::kNowhere; ++i) {
      state = trie_.step(state, fold_[static_cast<unsigned char>(word[i])]);
      if (state != Trie::kNowhere && trie_.value(state) >= 0) {
        best = trie_.value(state);
        best_end = i + 1;
      }
    }
    if (best < 0) break;
    out.ids.push_back(best);
    out.offsets.push_back({begin + static_cast<uint32_t>(from), begin + static_cast<uint32_t>(best_end)});
    from = best_end;
  }
  if (from == length) return;
  out.ids.resize(before);
  out.offsets.resize(before);
  out.ids.push_back(unk_);
  out.offsets.push_back({begin, begin + static_cast<uint32_t>(length)});
}

/// scratch.chars holds the chunk's code points afterwards.
void Tokenizer::tokenize_slowly(std::string_view chunk, uint32_t begin, SlowScratch& scratch,
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
    const bool may_be_special = chars[i] < 0x80 && class_[chars[i]] == kMaybeSpecial;
    const std::pair<std::string, int32_t>* match = nullptr;
    if (may_be_special)
      for (const auto& special : specials_) {
        const auto& token = special.first;
        if (match && token.size() <= match->first.size()) continue;
        if (i + token.size() <= chars.size() &&
            std::equal(token.begin(), token.end(), chars.begin() + static_cast<std::ptrdiff_t>(i),
                       [](char a, char32_t b) { return static_cast<unsigned char>(a) == b; }))
          match = &special;
      }
    if (!match) {
      ++i;
      continue;
    }
    run(done, i);
    const auto at = begin + static_cast<uint32_t>(i);
    out.ids.push_back(match->second);
    out.offsets.push_back({at, at + static_cast<uint32_t>(match->first.size())});
    i += match->first.size();
    done = i;
  }
  run(done, chars.size());
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

namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  size_t at = text.find(from);
  if (at == std::string::npos) return;
  std::string out;
  out.reserve(text.size());
  size_t copied = 0;
  for (; at != std::string::npos; at = text.find(from, copied)) {
    out.append(text, copied, at - copied).append(to);
    copied = at + from.size();
  }
  text = out.append(text, copied);
}

}  // namespace

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool skip_special, bool clean_up) const {
  std::string text;
  bool first = true;
  for (const int32_t id : ids) {
    const std::string_view token = vocabulary_.token(id);
    if (token.empty() || (skip_special && is_special(id))) continue;
    if (first) {
      text += token;
    } else if (token.size() > 2 && token.substr(0, 2) == "##") {
      text += token.substr(2);
    } else {
      text += ' ';
      text += token;
    }
    first = false;
  }
  for (const std::string_view mark : {" .", " ?", " !", " ,"}) replace_all(text, mark, mark.substr(1));
  if (clean_up) {
    replace_all(text, " ' ", "'");
    for (const std::string_view tail : {" n't", " 'm", " 's", " 've", " 're"})
      replace_all(text, tail, tail.substr(1));
  }
  return text;
}

}  // namespace qdqbert::text
