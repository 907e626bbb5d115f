// The example's flags as golden cases spell them, read by the command's own parser.
#pragma once

#include <string>
#include <vector>

#include "cli/qa_options.h"

namespace qdqbert::testing {

/// Splits at blanks; single quotes group.
inline std::vector<std::string> shell_words(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false, open = false;
  for (const char c : line) {
    if (c == '\'') {
      quoted = !quoted;
      open = true;
    } else if (c == ' ' && !quoted) {
      if (open) words.push_back(word);
      word.clear();
      open = false;
    } else {
      word += c;
      open = true;
    }
  }
  if (open) words.push_back(word);
  return words;
}

inline train::QuantOptions quant_options(const std::string& line) {
  cli::Arguments words = {"--model_name_or_path", "m",    "--output_dir", "o", "--do_eval",
                          "--dataset_name",       "squad"};
  for (std::string& word : shell_words(line)) words.push_back(std::move(word));
  return cli::parse_qa(words).value().quant;
}

}  // namespace qdqbert::testing
