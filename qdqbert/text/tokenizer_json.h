// tokenizer.json, the single-file form of a tokenizer: read when it describes a BERT WordPiece tokenizer,
// refused by the name of what it is otherwise, and written as the reference does.
#pragma once

#include <string>
#include <string_view>

#include "qdqbert/text/tokenizer.h"

namespace qdqbert::text {

struct TokenizerJson {
  Vocabulary vocabulary;
  TokenizerOptions options;
  bool adds_specials = true;  ///< has a post-processor; without one the file alone puts no [CLS] and [SEP]
};

/// `name` is for messages. Throws InputError for JSON that is broken and for every part
/// that this project's tokenizer does not do.
TokenizerJson parse_tokenizer_json(std::string_view text, const std::string& name);

std::string dump_tokenizer_json(const Tokenizer& tokenizer);

}  // namespace qdqbert::text
