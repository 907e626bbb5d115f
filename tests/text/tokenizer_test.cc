// The fast road against the definition: byte classes against the character tables, blocks against single
// words, and special tokens wherever they stand.
#include "qdqbert/text/tokenizer.h"

#include <cstdlib>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/text/byte_classes.h"
#include "qdqbert/text/encoding.h"
#include "qdqbert/text/unicode.h"

namespace qdqbert::text {
namespace {

Tokenizer small(TokenizerOptions options = {}) {
  std::vector<std::string> tokens = {options.pad, options.unk, options.cls, options.sep, options.mask};
  for (const char* token : {"a", "##a", "b", "##b", "ab", "abababababab", "ababababababa", "abababababababab",
                            "##abab", "1", ".", "[", "]", "\u00e9", "##\u00e9", "<", ">", "/"})
    tokens.emplace_back(token);
  return Tokenizer(Vocabulary(tokens, "test"), std::move(options));
}

TEST(ByteClasses, AgreeWithTheCharacterTables) {
  for (const ClassifyBytes classify : {classify_bytes_ref, classify_bytes()})
    for (int c = 0; c < 256; ++c) {
      const auto byte = static_cast<unsigned char>(c);
      ByteClasses classes;
      classify(&byte, 1, true, &classes);
      const uint16_t p = properties(static_cast<char32_t>(c));
      const bool other = c >= 0x80 || (p & kDropped);
      const bool space = !other && (p & (kToSpace | kSplitSpace));
      EXPECT_EQ(classes.other[0], other ? 1u : 0u) << c;
      EXPECT_EQ(classes.any_other != 0, other) << c;
      EXPECT_EQ(classes.space[0], space ? 1u : 0u) << c;
      EXPECT_EQ(classes.word[0], !other && !space && !(p & kPunctuation) ? 1u : 0u) << c;
      if (c < 0x80) {
        EXPECT_EQ(classes.folded[0],
                  p & kHasLower ? lower(static_cast<char32_t>(c))[0] : static_cast<uint32_t>(c))
            << c;
      }
    }
}

TEST(ByteClasses, EveryInstructionSetGivesTheSame) {
  const ClassifyBytes best = classify_bytes();
  std::mt19937 random(1);
  for (size_t size = 0; size <= kBlock; size += size < 200 ? 1 : 31) {
    // Exactly as many bytes as there are, so that a sanitizer sees reads behind them.
    std::vector<unsigned char> bytes(size);
    for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(random());
    for (const bool lower_case : {false, true}) {
      ByteClasses a, b;
      classify_bytes_ref(bytes.data(), size, lower_case, &a);
      best(bytes.data(), size, lower_case, &b);
      ASSERT_EQ(a.any_other != 0, b.any_other != 0);
      for (size_t w = 0; w <= size / 64 + 1; ++w) {
        ASSERT_EQ(a.word[w], b.word[w]) << size;
        ASSERT_EQ(a.space[w], b.space[w]) << size;
        ASSERT_EQ(a.other[w], b.other[w]) << size;
      }
      for (size_t i = 0; i < size + 16; ++i) ASSERT_EQ(a.folded[i], b.folded[i]) << size;
    }
  }
}

/// Words are independent of each other, so a text must give what its words give one by one.
void expect_words_alone(const Tokenizer& tokenizer, const std::vector<std::string>& words,
                        const std::string& separator) {
  std::string text;
  Tokens expected;
  uint32_t position = 0;
  for (const std::string& word : words) {
    const Tokens alone = tokenizer.tokenize(word);
    expected.ids.insert(expected.ids.end(), alone.ids.begin(), alone.ids.end());
    for (const Offset offset : alone.offsets)
      expected.offsets.push_back({position + offset.begin, position + offset.end});
    text += word + separator;
    position += static_cast<uint32_t>(count_code_points(word) + separator.size());
  }
  const Tokens tokens = tokenizer.tokenize(text);
  ASSERT_EQ(tokens.ids, expected.ids) << text;
  ASSERT_EQ(tokens.offsets, expected.offsets) << text;
}

TEST(Tokenizer, BlocksGiveWhatSingleWordsGive) {
  std::mt19937 random(2);
  const std::vector<std::string> parts = {
      "a", "b", "A", "1", ".", "[MASK]", "[MASK", "\u00e9", "ab", "abababababab", "-"};
  for (const char* isa : {"ref", ""}) {
    if (*isa) {
      ::setenv("QDQBERT_ISA", isa, 1);
    } else {
      ::unsetenv("QDQBERT_ISA");
    }
    for (const bool lower : {true, false}) {
      TokenizerOptions options;
      options.lower_case = lower;
      const Tokenizer tokenizer = small(options);
      for (int round = 0; round < 150; ++round) {
        std::vector<std::string> words;
        size_t size = 0;
        while (size < kBlock * 5 / 2) {
          std::string word;
          // Now and then a word that is longer than 100 characters, than 64 bytes of a mask, or than a block.
          const size_t kind = random() % 200;
          const size_t length = kind == 0  ? 1 + random() % 4000
                                : kind < 5 ? 90 + random() % 50
                                           : 1 + random() % 12;
          const bool ascii = random() % 8 != 0;
          for (size_t i = 0; i < length; ++i) {
            const std::string& part = parts[random() % parts.size()];
            if (kind > 0 && kind < 5 && part.size() > 1) continue;
            if (!ascii || part != "\u00e9") word += part;
          }
          size += word.size() + 1;
          if (!word.empty()) words.push_back(word);
        }
        expect_words_alone(tokenizer, words, round % 3 == 0 ? "\t " : " ");
      }
    }
  }
}

TEST(Tokenizer, WordsOfEveryLength) {
  const Tokenizer tokenizer = small();
  for (size_t length = 1; length <= 140; ++length)
    for (size_t lead = 0; lead < 70; lead += 23) {
      std::string word, text(lead, ' ');
      for (size_t i = 0; i < length; ++i) word += i % 2 ? 'B' : 'a';
      const Tokens tokens = tokenizer.tokenize(text + word);
      ASSERT_FALSE(tokens.ids.empty());
      EXPECT_EQ(tokens.offsets.front().begin, lead);
      EXPECT_EQ(tokens.offsets.back().end, lead + length);
      EXPECT_EQ(tokens.ids[0] == tokenizer.unk_id(), length > 100) << length;
      if (length == 12 || length == 13 || length == 16) {
        EXPECT_EQ(tokens.size(), 1u) << length;
      }
    }
}

TEST(Tokenizer, SpecialTokensThatEndInALetterLeaveTheRestOfTheWord) {
  TokenizerOptions options;
  options.cls = "<a";
  options.sep = "<ab1";
  const Tokenizer tokenizer = small(options);
  for (size_t lead = 0; lead < 70; ++lead) {
    const std::string spaces(lead, ' ');
    const auto at = static_cast<uint32_t>(lead);
    EXPECT_EQ(tokenizer.tokenize(spaces + "b<ab").ids,
              (std::vector<int32_t>{tokenizer.vocabulary().id("b"), tokenizer.cls_id(),
                                    tokenizer.vocabulary().id("b")}));
    EXPECT_EQ(tokenizer.tokenize(spaces + "b<ab").offsets,
              (std::vector<Offset>{{at, at + 1}, {at + 1, at + 3}, {at + 3, at + 4}}));
    EXPECT_EQ(tokenizer.tokenize(spaces + "<ab1b <a").ids,
              (std::vector<int32_t>{tokenizer.sep_id(), tokenizer.vocabulary().id("b"), tokenizer.cls_id()}));
    // The same with a character that takes the slow road.
    EXPECT_EQ(tokenizer.tokenize(spaces + "<abe\u0301").ids,
              (std::vector<int32_t>{tokenizer.cls_id(), tokenizer.unk_id()}));
  }
}

TEST(Tokenizer, SpecialTokensMustBePrintableAsciiAfterPunctuation) {
  for (const char* token : {"cls", "[C LS]", "[CL\u00c9]", "\u2329cls", " [CLS]", ""}) {
    TokenizerOptions options;
    options.cls = token;
    EXPECT_THROW(small(options), InputError) << token;
  }
}

// Marks that are removed take part in canonical ordering first;
// offsets as PyPI's tokenizers 0.23.3 gives them.
TEST(Tokenizer, RemovedMarksCountInCanonicalOrdering) {
  const Tokenizer tokenizer = small();
  const auto whole = [&](const std::string& text) { return tokenizer.tokenize(text).offsets; };
  EXPECT_EQ(whole("\u08d4\u0344\u033cx"), (std::vector<Offset>{{1, 4}}));
  EXPECT_EQ(whole("\u08d4\u0344\u030b\u033cx"), (std::vector<Offset>{{1, 5}}));
  EXPECT_EQ(whole("\u08d4\u0344\u030bx"), (std::vector<Offset>{{0, 4}}));
  EXPECT_EQ(whole("\u00e9\u302e"), (std::vector<Offset>{{0, 2}}));
  EXPECT_EQ(whole("\u01d6\u302e\u033c"), (std::vector<Offset>{{0, 3}}));
}

TEST(Tokenizer, BatchesDoNotDependOnThreads) {
  const Tokenizer tokenizer = small();
  std::vector<std::string> first, second;
  for (int i = 0; i < 300; ++i) {
    first.push_back(std::string(static_cast<size_t>(i % 37), 'a') + " b. ab");
    second.push_back("\u00e9 " + std::string(static_cast<size_t>(i % 11), 'b'));
  }
  EncodeOptions options;
  options.truncation = Truncation::kOnlyFirst;
  options.max_length = 24;
  options.stride = 2;
  options.return_overflow = true;
  options.padding = Padding::kLongest;
  const Batch one = encode(tokenizer, first, second, options, 1);
  const Batch four = encode(tokenizer, first, second, options, 4);
  ASSERT_EQ(one.features.size(), four.features.size());
  EXPECT_EQ(one.sample, four.sample);
  for (size_t f = 0; f < one.features.size(); ++f) {
    EXPECT_EQ(one.features[f].ids, four.features[f].ids);
    EXPECT_EQ(one.features[f].offsets, four.features[f].offsets);
  }
}

}  // namespace
}  // namespace qdqbert::text
