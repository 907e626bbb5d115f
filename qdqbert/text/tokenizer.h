// The BERT WordPiece tokenizer: text to ids with offsets in Unicode code points,
// equal to the reference's fast tokenizer.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/text/byte_classes.h"
#include "qdqbert/text/normalizer.h"
#include "qdqbert/text/trie.h"
#include "qdqbert/text/vocabulary.h"
#include "qdqbert/text/word_table.h"

namespace qdqbert::text {

enum class Side { kRight, kLeft };

/// A model_max_length from which on there is no limit; what stands for "unknown" in saved files is larger.
constexpr int kNoMaxLength = 1'000'000'000;

struct TokenizerOptions {
  bool lower_case = true;
  std::optional<bool> strip_accents;  ///< not given: as lower_case
  bool split_cjk = true;
  int model_max_length = 512;
  Side padding_side = Side::kRight;
  Side truncation_side = Side::kRight;
  std::string unk = "[UNK]", sep = "[SEP]", pad = "[PAD]", cls = "[CLS]", mask = "[MASK]";
};

/// What a caller wants otherwise than the files of a tokenizer say.
struct TokenizerOverrides {
  std::optional<bool> lower_case, strip_accents, split_cjk;
};

/// Tokens of one text without [CLS] and [SEP].
struct Tokens {
  std::vector<int32_t> ids;
  std::vector<Offset> offsets;
  size_t size() const { return ids.size(); }
};

/// Immutable; any number of threads may use one object.
class Tokenizer {
 public:
  /// Throws InputError when a special token is not in the vocabulary, or is not a run of printable ASCII
  /// characters that begins with punctuation.
  Tokenizer(Vocabulary vocabulary, TokenizerOptions options);

  /// A vocab.txt with the given options.
  static Tokenizer from_vocabulary(const std::filesystem::path& path, TokenizerOptions options = {});

  /// A saved tokenizer: tokenizer.json if there, else vocab.txt; with the options of tokenizer_config.json
  /// and special_tokens_map.json where there, as the class named there means them: BERT's own classes take them,
  /// and their defaults, instead of those in tokenizer.json; PreTrainedTokenizerFast and TokenizersBackend are
  /// tokenizer.json alone. Throws InputError when neither is there, and names what it is when it is not a BERT
  /// WordPiece tokenizer.
  static Tokenizer from_directory(const std::filesystem::path& directory,
                                  const TokenizerOverrides& overrides = {});

  /// A directory, a tokenizer.json or a vocabulary file, whichever `path` is.
  static Tokenizer from_path(const std::filesystem::path& path, const TokenizerOverrides& overrides = {});

  /// Writes vocab.txt, tokenizer_config.json, special_tokens_map.json and tokenizer.json, the latter byte for
  /// byte as the reference does. The directory must exist.
  void save(const std::filesystem::path& directory) const;

  /// `text` is UTF-8; ill-formed bytes count as one U+FFFD each (which the normalizer drops). Special tokens
  /// written in the text become their ids. Appends to `out`.
  void tokenize(std::string_view text, Tokens& out) const;
  Tokens tokenize(std::string_view text) const;

  /// Text of ids: tokens joined by spaces, continuations glued. Ids outside the vocabulary are left out. The
  /// space before . ? ! , is always removed; with `clean_up` also around apostrophes of contractions.
  std::string decode(const std::vector<int32_t>& ids, bool skip_special, bool clean_up) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  const TokenizerOptions& options() const { return options_; }
  NormalizerOptions normalizer_options() const;
  int32_t unk_id() const { return unk_; }
  int32_t sep_id() const { return sep_; }
  int32_t pad_id() const { return pad_; }
  int32_t cls_id() const { return cls_; }
  int32_t mask_id() const { return mask_; }
  bool is_special(int32_t id) const;

 private:
  struct BlockTokens;
  struct SlowScratch;
  void tokenize_block(const char* text, size_t size, uint32_t first, ByteClasses& classes,
                      SlowScratch& scratch, size_t& continuation_bytes, Tokens& out) const;
  void tokenize_plain(const char* text, size_t from, size_t to, uint32_t first, const ByteClasses& classes,
                      BlockTokens& tokens) const;
  size_t special_length(const char* text, size_t size, int32_t& id) const;
  void pieces_of_ascii_word(const unsigned char* word, size_t length, uint32_t begin,
                            BlockTokens& tokens) const;
  size_t tokenize_slowly(std::string_view chunk, uint32_t begin, SlowScratch& scratch, Tokens& out) const;
  void pieces_of_word(const NormalizedChar* word, size_t length, SlowScratch& scratch, Tokens& out) const;

  Vocabulary vocabulary_;
  TokenizerOptions options_;
  WordTable words_;
  Trie trie_;
  uint32_t continuation_ = 0;  ///< state from which ## pieces are matched
  ClassifyBytes classify_;
  std::array<int32_t, 128> punctuation_{};  ///< id of each ASCII character as a word of its own
  std::array<bool, 128> begins_special_{};  ///< first characters of special tokens
  std::vector<std::pair<std::string, int32_t>> specials_;  ///< longest first
  int32_t unk_, sep_, pad_, cls_, mask_;
};

}  // namespace qdqbert::text
