// Texts for language modelling: blocks of tokens, masked tokens, pairs of sentences.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/tasks/token_rows.h"

namespace qdqbert::tasks {

/// The texts of read_text_rows(), empty ones included (they separate documents).
std::vector<std::string> read_texts(const std::filesystem::path& path, const std::string& column = "");

struct LmBlockOptions {
  int max_length = 512;
  /// Every line that is not empty is a row of its own, cut to max_length. Otherwise all tokens, special ones
  /// of each line included, behind each other and cut into blocks of max_length; a last smaller rest is
  /// dropped unless it is all there is.
  bool line_by_line = false;
};

struct LmBlocks {
  TokenRows rows;
  std::vector<std::vector<uint8_t>> special;  ///< by row and token: added by the tokenizer

  static LmBlocks build(const std::vector<std::string>& texts, const text::Tokenizer& tokenizer,
                        const LmBlockOptions& options, int threads = 1);
  /// Keeps the first `count` rows.
  void truncate(size_t count);
};

struct MaskingOptions {
  double probability = 0.15;  ///< of a token (or word) to be predicted
  bool whole_word = false;    ///< pieces of a word together
  uint64_t seed = 42;
};

struct MaskedRow {
  std::vector<int32_t> ids;
  std::vector<int64_t> labels;  ///< the original id where the model is asked, -100 elsewhere
};

/// Of the chosen tokens 80 % become [MASK], 10 % a random token and 10 % stay. Tokens are chosen one by one
/// with the given probability; whole words are drawn without repetition until max(1, round(probability x
/// tokens)) tokens are chosen, words that would exceed it left out. The outcome depends on seed, epoch, row
/// and place only. Special tokens are never chosen.
MaskedRow mask_row(const LmBlocks& blocks, size_t row, uint64_t epoch, const text::Tokenizer& tokenizer,
                   const MaskingOptions& options);

struct SentencePair {
  std::string first, second;
  int64_t label = 0;  ///< 0: `second` follows `first`; 1: it is a random sentence
};

/// Lines are sentences, empty lines separate documents. Each sentence with a successor begins one pair; for
/// half of them the second sentence is drawn from another document (from the same one, but not the successor,
/// when there is only one). Throws InputError when no document has two sentences.
std::vector<SentencePair> make_sentence_pairs(const std::vector<std::string>& lines, uint64_t seed);

/// .txt: make_sentence_pairs. Records: sentence1, sentence2 and label (0 or "next", 1 or "random"); the label
/// may be absent unless required (then -1).
std::vector<SentencePair> read_sentence_pairs(const std::filesystem::path& path, uint64_t seed,
                                              bool labels_required = true);

}  // namespace qdqbert::tasks
