// The example's flags as golden cases spell them, read by the command's own parser.
#pragma once

#include <string>
#include <vector>

#include "cli/task_options.h"

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
  cli::TaskOptions options;
  cli::ArgumentParser parser("qa", "", "");
  cli::add_quant_flags(parser, options);
  options.model.model_name_or_path = "m";
  options.run.do_eval = true;
  parser.parse(shell_words(line));
  cli::finish_options(options, "qa", {}, false);
  return options.quant;
}

}  // namespace qdqbert::testing
