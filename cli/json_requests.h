// Requests as JSON lines, and the lines that answer them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "qdqbert/base/json.h"

#include "cli/predictor.h"

namespace qdqbert::cli {

/// Lines of a file descriptor. Hands out what has arrived without waiting for more, so that
/// a pipe that stays open is answered at once.
class LineReader {
 public:
  /// Longer lines come out cut, marked as too long.
  explicit LineReader(int descriptor, size_t longest = size_t{1} << 24);

  struct Line {
    std::string text;
    int64_t number = 0;  ///< the first line is 1
    bool too_long = false;
  };

  enum class Result { kLine, kNothingYet, kEnd };
  /// Waits up to `milliseconds` for a line. Throws SystemError when reading fails.
  Result next(Line& line, int milliseconds);
  size_t longest() const { return longest_; }

 private:
  bool take(Line& line);
  int descriptor_;
  size_t longest_;
  std::string buffer_;
  size_t begin_ = 0, searched_ = 0;
  int64_t lines_ = 0;
  bool ended_ = false;
};

struct QuestionRequest {
  Json id;  ///< as given; the number of the line when there is none
  std::string question, context;
};

struct LabelledRequest {
  Json id;
  TextRequest request;
};

struct IdsRequest {
  Json id;
  std::vector<int32_t> input_ids, token_type_ids;  ///< types are empty or as many
};

/// {"id": text or number, "question": text, "context": text}. Throws InputError saying what is wrong with the
/// line; `id` is set as far as it was read.
QuestionRequest parse_question(const LineReader::Line& line, size_t longest, Json& id);
/// {"id", "text": text, "text_pair": text, "choices": [texts]}, all but the text optional.
/// Lines of training data do as well: "prompt", "sentence" or "sentence1" for the text, "sentence2"
/// for the pair; other keys are not looked at.
LabelledRequest parse_text(const LineReader::Line& line, size_t longest, Json& id);
/// {"id", "input_ids": [numbers], "token_type_ids": [numbers]}
IdsRequest parse_ids(const LineReader::Line& line, size_t longest, Json& id);

/// {"id": ..., "line": n, "error": "..."}
std::string error_line(const Json& id, int64_t line, std::string_view sentence);

}  // namespace qdqbert::cli
