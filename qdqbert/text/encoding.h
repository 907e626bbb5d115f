// From tokens to model inputs: special tokens, truncation into windows, padding.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/text/tokenizer.h"

namespace qdqbert::text {

enum class Truncation { kNone, kOnlyFirst, kOnlySecond, kLongestFirst };
enum class Padding { kNone, kLongest, kMaxLength };

struct EncodeOptions {
  Truncation truncation = Truncation::kNone;
  Padding padding = Padding::kNone;
  std::optional<int> max_length;  ///< with special tokens; not given: the tokenizer's model_max_length
  int stride = 0;                 ///< tokens that consecutive windows share
  bool return_overflow = false;   ///< all windows instead of the first
  std::optional<int> pad_to_multiple_of;
};

/// One feature; all vectors have one entry per token.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;
  std::vector<int32_t> attention_mask;
  std::vector<int32_t> special_tokens_mask;  ///< 1 for added tokens and padding
  std::vector<Offset> offsets;               ///< [0, 0) for added tokens and padding
  std::vector<int8_t> sequence_ids;          ///< 0 first text, 1 second, -1 added
  std::vector<int32_t> word_ids;             ///< index of the pre-split word, -1 added; empty for whole texts
};

struct Batch {
  std::vector<Encoding> features;
  std::vector<size_t> sample;  ///< feature -> input that it came from
};

/// Half-open range of tokens of one sequence.
struct Window {
  size_t begin = 0, end = 0;
};
struct WindowPair {
  Window first, second;
};

/// How [first | second] sequences of n1 and n2 tokens (n2 nullopt: no second) are cut so that window
/// lengths add up to at most max_length minus the special tokens (2 or 3). Without return_overflow
/// only the first pair is given. Throws InputError when a sequence would have to lose all its
/// tokens or the stride leaves no progress.
std::vector<WindowPair> make_windows(size_t n1, std::optional<size_t> n2, const EncodeOptions& options,
                                     int max_length, Side truncation_side);

/// Texts, or pairs when `second` is not empty (then of the same length as `first`).
Batch encode(const Tokenizer& tokenizer, const std::vector<std::string>& first,
             const std::vector<std::string>& second, const EncodeOptions& options, int threads = 1);

/// One text (or pair) that is already split into words; offsets are relative to the word.
Batch encode_words(const Tokenizer& tokenizer, const std::vector<std::string>& first,
                   const std::vector<std::string>& second, const EncodeOptions& options);

}  // namespace qdqbert::text
