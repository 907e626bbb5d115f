#include "cli/json_requests.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <initializer_list>

#include <poll.h>
#include <unistd.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/utf8.h"

namespace qdqbert::cli {

LineReader::LineReader(int descriptor, size_t longest) : descriptor_(descriptor), longest_(longest) {}

/// A whole line of the buffer, or what is left of it at the end.
bool LineReader::take(Line& line) {
  const size_t end = buffer_.find('\n', searched_);
  searched_ = buffer_.size();
  const bool whole = end != std::string::npos;
  const size_t size = (whole ? end : buffer_.size()) - begin_;
  if (!whole && !ended_) {
    if (size <= longest_) return false;
    // Only the beginning of a line that is too long is kept; the rest is read and forgotten.
    buffer_.resize(begin_ + longest_ + 1);
    searched_ = buffer_.size();
    return false;
  }
  if (!whole && size == 0) return false;
  line.text = buffer_.substr(begin_, std::min(size, longest_));
  line.too_long = size > longest_;
  line.number = ++lines_;
  begin_ = whole ? end + 1 : buffer_.size();
  searched_ = begin_;
  if (begin_ > buffer_.size() / 2) {
    buffer_.erase(0, begin_);
    begin_ = searched_ = 0;
  }
  if (!line.text.empty() && line.text.back() == '\r') line.text.pop_back();
  return true;
}

LineReader::Result LineReader::next(Line& line, int milliseconds) {
  while (true) {
    if (take(line)) return Result::kLine;
    if (ended_) return Result::kEnd;
    pollfd waiting = {descriptor_, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, milliseconds);
    if (ready < 0 && errno != EINTR)
      fail<SystemError>("[input] waiting for standard input failed: {}", std::strerror(errno));
    if (ready <= 0) return Result::kNothingYet;
    char chunk[1 << 16];
    const ssize_t got = ::read(descriptor_, chunk, sizeof(chunk));
    if (got < 0 && errno != EINTR && errno != EAGAIN)
      fail<SystemError>("[input] reading standard input failed: {}", std::strerror(errno));
    if (got == 0) ended_ = true;
    if (got > 0) buffer_.append(chunk, static_cast<size_t>(got));
  }
}

namespace {

/// The object of a line, with its id.
Json parse_line(const LineReader::Line& line, size_t longest, Json& id) {
  id = line.number;
  if (line.too_long) fail("the line is longer than {} bytes", longest);
  if (const size_t bad = find_invalid_utf8(line.text); bad != std::string_view::npos)
    fail("the line is not valid UTF-8 at byte {}", bad + 1);
  Json json = parse_json(line.text, "the line");
  if (!json.is_object()) fail("an object is needed, this is a JSON {}", json.type_name());
  if (const auto found = json.find("id"); found != json.end()) {
    if (!found->is_string() && !found->is_number_integer())
      fail("\"id\" has to be a text or an integer, it is a JSON {}", found->type_name());
    id = *found;
  }
  return json;
}

const Json& member(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end()) fail("\"{}\" is missing", key);
  return *found;
}

std::string text_of(const Json& json, const char* key) {
  const Json& value = member(json, key);
  if (!value.is_string()) fail("\"{}\" has to be a text, it is a JSON {}", key, value.type_name());
  return value.get<std::string>();
}

std::vector<int32_t> ids_of(const Json& json, const char* key) {
  const Json& value = member(json, key);
  if (!value.is_array()) fail("\"{}\" has to be a list of integers, it is a JSON {}", key, value.type_name());
  std::vector<int32_t> ids;
  for (const Json& item : value) {
    if (!item.is_number_integer()) fail("\"{}\" has to be a list of integers, it holds {}", key, item.dump());
    const bool beyond = item.is_number_unsigned() && item.get<uint64_t>() > INT32_MAX;
    if (beyond || item.get<int64_t>() < INT32_MIN)
      fail("\"{}\" holds {}, which is no token id", key, item.dump());
    ids.push_back(item.get<int32_t>());
  }
  return ids;
}

}  // namespace

QuestionRequest parse_question(const LineReader::Line& line, size_t longest, Json& id) {
  const Json json = parse_line(line, longest, id);
  return {id, text_of(json, "question"), text_of(json, "context")};
}

LabelledRequest parse_text(const LineReader::Line& line, size_t longest, Json& id) {
  const Json json = parse_line(line, longest, id);
  // The first key is what errors name; the others are those of training data.
  const auto given = [&](std::initializer_list<const char*> keys) {
    const auto found =
        std::find_if(keys.begin(), keys.end(), [&](const char* key) { return json.contains(key); });
    return found == keys.end() ? *keys.begin() : *found;
  };
  LabelledRequest made{id, {text_of(json, given({"text", "prompt", "sentence", "sentence1"})), {}, {}}};
  if (const char* pair = given({"text_pair", "sentence2"}); json.contains(pair))
    made.request.pair = text_of(json, pair);
  if (const auto found = json.find("choices"); found != json.end()) {
    if (!found->is_array())
      fail("\"choices\" has to be a list of texts, it is a JSON {}", found->type_name());
    for (const Json& choice : *found) {
      if (!choice.is_string()) fail("\"choices\" has to be a list of texts, it holds {}", choice.dump());
      made.request.choices.push_back(choice.get<std::string>());
    }
  }
  return made;
}

IdsRequest parse_ids(const LineReader::Line& line, size_t longest, Json& id) {
  const Json json = parse_line(line, longest, id);
  IdsRequest request{id, ids_of(json, "input_ids"), {}};
  if (json.contains("token_type_ids")) request.token_type_ids = ids_of(json, "token_type_ids");
  if (request.input_ids.empty()) fail("\"input_ids\" is empty");
  if (!request.token_type_ids.empty() && request.token_type_ids.size() != request.input_ids.size())
    fail("\"token_type_ids\" has {} numbers, \"input_ids\" has {}", request.token_type_ids.size(),
         request.input_ids.size());
  return request;
}

std::string error_line(const Json& id, int64_t line, std::string_view sentence) {
  return dump_json(Json{{"id", id}, {"line", line}, {"error", sentence}}, {-1, false, false, true});
}

}  // namespace qdqbert::cli
