// A tokenizer of letters and a few pieces, for tests that count tokens.
#pragma once

#include <string>
#include <vector>

#include "qdqbert/text/tokenizer.h"

namespace qdqbert::tasks {

/// Words are spelled in letters ("cat" is c ##a ##t), except "the", "dog", "##s" and punctuation marks.
inline text::Tokenizer letters_tokenizer(text::Side padding = text::Side::kRight) {
  std::vector<std::string> pieces = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog", ".", "?"};
  for (char c = 'a'; c <= 'z'; ++c) {
    pieces.emplace_back(1, c);
    pieces.push_back(std::string("##") + c);
  }
  text::TokenizerOptions options;
  options.padding_side = padding;
  return text::Tokenizer(text::Vocabulary(std::move(pieces), "letters"), options);
}

}  // namespace qdqbert::tasks
