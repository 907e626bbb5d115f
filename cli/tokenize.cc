// qdqbert tokenize: text lines to JSON lines.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <optional>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/text/tokenizer.h"

#include "cli/arguments.h"
#include "cli/terminal.h"

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

void append_number(int64_t value, std::string& out) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

/// `quoted` holds every token of the vocabulary as JSON.
void append_json(const text::Tokenizer& tokenizer, const std::vector<std::string>& quoted,
                 const text::Tokens& tokens, std::string& out) {
  const auto token = [&](int32_t id) -> const std::string& { return quoted[static_cast<size_t>(id)]; };
  out += "{\"ids\": [";
  append_number(tokenizer.cls_id(), out);
  for (const int32_t id : tokens.ids) {
    out += ", ";
    append_number(id, out);
  }
  out += ", ";
  append_number(tokenizer.sep_id(), out);
  out += "], \"tokens\": [" + token(tokenizer.cls_id());
  for (const int32_t id : tokens.ids) out.append(", ").append(token(id));
  out += ", " + token(tokenizer.sep_id()) + "], \"offsets\": [[0, 0]";
  for (const text::Offset offset : tokens.offsets) {
    out += ", [";
    append_number(offset.begin, out);
    out += ", ";
    append_number(offset.end, out);
    out += ']';
  }
  out += ", [0, 0]]}\n";
}

/// Where the lines go: a file that appears when it is complete, or standard output.
class Output {
 public:
  explicit Output(const std::string& path) {
    if (path != "-") file_.emplace(path);
  }
  void write(const std::string& text) {
    if (file_) {
      file_->write(text);
    } else {
      write_output(text);
    }
  }
  void close() {
    if (file_) {
      file_->commit();
    } else {
      flush_output();
    }
  }

 private:
  std::optional<AtomicFile> file_;
};

/// Lines that are held as tokens and JSON at a time; bounds memory.
constexpr size_t kLinesAtATime = 4096;

}  // namespace

int run_tokenize(const Arguments& arguments) {
  std::string source, input = "-", output = "-";
  std::optional<std::string> stats;
  int64_t threads = default_threads();
  text::TokenizerOverrides overrides;
  bool lower_case = true, strip_accents = true, split_cjk = true;
  ArgumentParser parser(
      "tokenize", "VOCAB_OR_DIR [flags]",
      "Turns each line of text into one JSON object with `ids`, `tokens` and `offsets` ([begin, end) in Unicode\n"
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
  std::vector<std::string> quoted;
  for (const std::string& token : tokenizer.vocabulary().tokens()) quoted.push_back(dump_json(Json(token)));
  Output file(output);
  std::vector<text::Tokens> tokens(std::min(lines.size(), kLinesAtATime));
  std::vector<std::string> json(tokens.size());
  std::chrono::duration<double> encoding{};
  size_t total = 0;
  for (size_t first = 0; first < lines.size(); first += kLinesAtATime) {
    const size_t count = std::min(kLinesAtATime, lines.size() - first);
    const auto start = std::chrono::steady_clock::now();
    parallel_for(count, 64, static_cast<int>(threads), [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        tokens[i].ids.clear();
        tokens[i].offsets.clear();
        tokenizer.tokenize(lines[first + i], tokens[i]);
      }
    });
    encoding += std::chrono::steady_clock::now() - start;
    parallel_for(count, 64, static_cast<int>(threads), [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        json[i].clear();
        append_json(tokenizer, quoted, tokens[i], json[i]);
      }
    });
    for (size_t i = 0; i < count; ++i) {
      file.write(json[i]);
      total += tokens[i].size();
    }
  }
  file.close();
  if (stats) {
    const Json figures = {{"lines", lines.size()},
                          {"tokens", total},
                          {"bytes", content.size()},
                          {"threads", threads},
                          {"encode_seconds", encoding.count()}};
    write_file(*stats, dump_json(figures) + "\n");
  }
  return 0;
}

}  // namespace qdqbert::cli
