// rooms: text base
// Random texts under random options keep the promises of the tokenizer: offsets within the text and
// in order, ids within the vocabulary, the same tokens whether the text is given alone, in a batch
// or behind another; windows that cover everything; decoding that takes any id. Bytes that begin
// with { are read as a tokenizer.json as well.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "qdqbert/base/error.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/text/encoding.h"
#include "qdqbert/text/tokenizer.h"
#include "qdqbert/text/tokenizer_json.h"

namespace {

using namespace qdqbert::text;

void check(bool holds) {
  if (!holds) std::abort();
}

const Tokenizer& tokenizer_of(unsigned options) {
  static const std::array<Tokenizer, 12> tokenizers = [] {
    const auto make = [](unsigned i) {
      std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
      for (char c = '!'; c <= '~'; ++c) {
        tokens.emplace_back(1, c);
        tokens.push_back("##" + std::string(1, c));
      }
      for (const char* token :
           {"the", "##ing", "##ed", "un", "\xc3\xa9", "##\xc3\xa9", "\xe4\xb8\x80", "caf", "\xe1\x84\x80",
            "##\xe1\x85\xa1", "\xf0\x9f\x98\x80", "i\xcc\x87", "##\xcc\x87"})
        tokens.emplace_back(token);
      TokenizerOptions made;
      made.lower_case = i & 1;
      made.split_cjk = i & 2;
      if (i / 4 == 1) made.strip_accents = false;
      if (i / 4 == 2) made.strip_accents = true;
      return Tokenizer(Vocabulary(std::move(tokens), "fuzz"), made);
    };
    return std::array<Tokenizer, 12>{make(0), make(1), make(2), make(3), make(4),  make(5),
                                     make(6), make(7), make(8), make(9), make(10), make(11)};
  }();
  return tokenizers[options % tokenizers.size()];
}

void check_tokens(const Tokenizer& tokenizer, const std::string& text, const Tokens& tokens) {
  const size_t length = qdqbert::decode_utf8(text).size();
  check(tokens.ids.size() == tokens.offsets.size());
  uint32_t begin = 0, end = 0;
  for (size_t t = 0; t < tokens.size(); ++t) {
    check(tokens.ids[t] >= 0 && static_cast<size_t>(tokens.ids[t]) < tokenizer.vocabulary().size());
    const Offset offset = tokens.offsets[t];
    check(offset.begin >= begin && offset.end >= end && offset.begin < offset.end && offset.end <= length);
    begin = offset.begin;
    end = offset.end;
  }
}

void check_windows(const Tokenizer& tokenizer, const std::vector<std::string>& first,
                   const std::vector<std::string>& second, uint8_t a, uint8_t b) {
  EncodeOptions options;
  options.truncation = static_cast<Truncation>(a % 4);
  options.padding = static_cast<Padding>(a / 4 % 3);
  options.max_length = a / 16 + b % 32;
  options.stride = b / 16 - 1;
  options.return_overflow = a & 128;
  if (b & 64) options.pad_to_multiple_of = b % 9;
  try {
    const Batch batch = encode(tokenizer, first, second, options, 1);
    check(batch.features.size() == batch.sample.size());
    for (const Encoding& f : batch.features) {
      if (options.truncation != Truncation::kNone && !options.pad_to_multiple_of && !options.return_overflow)
        check(f.ids.size() <= static_cast<size_t>(*options.max_length));
      for (const size_t size : {f.type_ids.size(), f.attention_mask.size(), f.special_tokens_mask.size(),
                                f.offsets.size(), f.sequence_ids.size()})
        check(size == f.ids.size());
    }
  } catch (const qdqbert::InputError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 4, size - 4);
  const Tokenizer& tokenizer = tokenizer_of(data[0]);
  const Tokens tokens = tokenizer.tokenize(text);
  check_tokens(tokenizer, text, tokens);

  // White space separates; a text behind another gives the same tokens.
  const Tokens behind = tokenizer.tokenize("the " + text);
  check(behind.size() == tokens.size() + 1);
  for (size_t t = 0; t < tokens.size(); ++t) {
    check(behind.ids[t + 1] == tokens.ids[t]);
    check(behind.offsets[t + 1].begin == tokens.offsets[t].begin + 4);
    check(behind.offsets[t + 1].end == tokens.offsets[t].end + 4);
  }

  const size_t half = text.size() / 2;
  check_windows(tokenizer, {text}, {}, data[1], data[2]);
  check_windows(tokenizer, {text.substr(0, half)}, {text.substr(half)}, data[1], data[2]);

  tokenizer.decode(tokens.ids, data[3] & 1, data[3] & 2);
  std::vector<int32_t> ids(text.size() / 4);
  if (!ids.empty()) std::memcpy(ids.data(), text.data(), ids.size() * 4);
  tokenizer.decode(ids, data[3] & 1, data[3] & 2);

  if (!text.empty() && text[0] == '{') {
    try {
      TokenizerJson read = parse_tokenizer_json(text, "fuzz");
      const Tokenizer made(std::move(read.vocabulary), read.options);
      check_tokens(made, text, made.tokenize(text));
      const TokenizerJson again = parse_tokenizer_json(dump_tokenizer_json(made), "again");
      check(again.vocabulary.tokens() == made.vocabulary().tokens());
    } catch (const qdqbert::InputError&) {
    }
  }
  return 0;
}
