// qdqbert tokenize: text lines to JSON lines.
#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/thread_pool.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/text/tokenizer.h"

#include "cli/arguments.h"

namespace qdqbert::cli {

namespace {

std::vector<std::string_view> split_lines(const std::string& text, const std::string& name) {
  std::vector<std::string_view> lines;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    lines.push_back(std::string_view(text).substr(begin, end - begin));
    const size_t bad = find_invalid_utf8(lines.back());
    if (bad != std::string_view::npos)
      fail("[tokenize] {}: line {} is not valid UTF-8 at byte {}", name, lines.size(), bad + 1);
    begin = end + 1;
  }
  return lines;
}

/// `quoted_tokens` holds every token of the vocabulary as JSON.
void append_json(const text::Tokenizer& tokenizer, const std::vector<std::string>& quoted_tokens,
                 const text::Tokens& tokens, std::string& out) {
  const auto each = [&](const char* key, auto&& cls, auto&& one, auto&& sep) {
    out += key;
    out += cls;
    for (size_t t = 0; t < tokens.size(); ++t) {
      out += ", ";
      one(t);
    }
    out += ", ";
    out += sep;
    out += ']';
  };
  const auto quoted = [&](int32_t id) { return quoted_tokens[static_cast<size_t>(id)]; };
  each(
      "{\"ids\": [", std::to_string(tokenizer.cls_id()),
      [&](size_t t) { out += std::to_string(tokens.ids[t]); }, std::to_string(tokenizer.sep_id()));
  each(
      ", \"tokens\": [", quoted(tokenizer.cls_id()), [&](size_t t) { out += quoted(tokens.ids[t]); },
      quoted(tokenizer.sep_id()));
  each(
      ", \"offsets\": [", "[0, 0]",
      [&](size_t t) { out += fmt::format("[{}, {}]", tokens.offsets[t].begin, tokens.offsets[t].end); },
      "[0, 0]");
  out += "}\n";
}

}  // namespace

int run_tokenize(const Arguments& arguments) {
  std::string source, input = "-", output = "-";
  std::optional<std::string> stats;
  int64_t threads = default_threads();
  text::TokenizerOverrides overrides;
  bool lower_case = true, strip_accents = true, split_cjk = true;
  ArgumentParser parser("tokenize", "VOCAB_OR_DIR [flags]",
                        "Turns each line of text into one JSON object with `ids`, `tokens` and `offsets` "
                        "([begin, end) in Unicode\n"
                        "code points of the line; [CLS] and [SEP] are added with offsets [0, 0]).");
  parser.add_positional("VOCAB_OR_DIR", source,
                        "a vocab.txt, a tokenizer.json, or a directory with tokenizer files");
  parser.group("input and output");
  parser.add("input", input, "text file, one text a line; - is standard input");
  parser.add("output", output, "JSON lines file; - is standard output");
  parser.add("json", stats, "write counts and seconds to this file");
  parser.add("threads", threads, "threads for encoding");
  parser.group("tokenizer");
  parser.add("do_lower_case", lower_case,
             "lower-case the text (default: as the directory says, true for a vocab.txt)");
  parser.add("strip_accents", strip_accents,
             "remove accents (default: as the directory says, else as do_lower_case)");
  parser.add("tokenize_chinese_chars", split_cjk, "put spaces around CJK characters");
  if (!parser.parse(arguments)) return 0;
  if (threads < 1) fail<UsageError>("[tokenize] --threads is {}, at least 1 is needed", threads);
  if (parser.given("do_lower_case")) overrides.lower_case = lower_case;
  if (parser.given("strip_accents")) overrides.strip_accents = strip_accents;
  if (parser.given("tokenize_chinese_chars")) overrides.split_cjk = split_cjk;
  const text::Tokenizer tokenizer = text::Tokenizer::from_path(source, overrides);
  const std::string content =
      input == "-" ? std::string(std::istreambuf_iterator<char>(std::cin), {}) : read_maybe_gzip(input);
  const std::vector<std::string_view> lines = split_lines(content, input == "-" ? "standard input" : input);
  std::vector<text::Tokens> tokens(lines.size());
  const auto start = std::chrono::steady_clock::now();
  parallel_for(lines.size(), 64, static_cast<int>(threads), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) tokenizer.tokenize(lines[i], tokens[i]);
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::string out;
  size_t total = 0;
  std::vector<std::string> quoted_tokens;
  for (const std::string& token : tokenizer.vocabulary().tokens())
    quoted_tokens.push_back(dump_json(Json(token)));
  for (const text::Tokens& line : tokens) {
    append_json(tokenizer, quoted_tokens, line, out);
    total += line.size();
  }
  if (output == "-") {
    if (std::fwrite(out.data(), 1, out.size(), stdout) != out.size())
      fail<SystemError>("[tokenize] writing to standard output failed");
  } else {
    write_file(output, out);
  }
  if (stats) {
    const Json json = {{"lines", lines.size()},
                       {"tokens", total},
                       {"bytes", content.size()},
                       {"threads", threads},
                       {"encode_seconds", seconds}};
    write_file(*stats, dump_json(json) + "\n");
  }
  return 0;
}

}  // namespace qdqbert::cli
