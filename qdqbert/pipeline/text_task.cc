#include "qdqbert/pipeline/text_task.h"

#include "qdqbert/base/utf8.h"

namespace qdqbert::pipeline {

size_t PreparedText::tokens() const {
  size_t sum = 0;
  for (const text::Encoding& row : rows) sum += row.ids.size();
  return sum;
}

void check_text(std::string_view text) {
  if (text.empty()) fail("the text is empty");
  if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
    fail("the text is not valid UTF-8 at byte {}", bad + 1);
}

void encode_text(const Pipeline& pipeline, const TextRequest& request, PreparedText& to, EmptyText empty) {
  if (!request.text.empty() || empty == EmptyText::kRefused) check_text(request.text);
  text::EncodeOptions options;
  std::vector<std::string> pairs;
  if (request.pair) {
    if (!request.pair->empty()) check_text(*request.pair);
    pairs.push_back(*request.pair);
  }
  const auto encode = [&] {
    return std::move(text::encode(pipeline.tokenizer(), {request.text}, pairs, options).features.at(0));
  };
  text::Encoding row = encode();
  if (row.ids.size() > pipeline.max_length()) {
    options.truncation = text::Truncation::kLongestFirst;
    options.max_length = static_cast<int>(pipeline.max_length());
    row = encode();
    to.truncated = true;
  }
  to.rows.push_back(std::move(row));
}

PreparedText encode_text(const Pipeline& pipeline, const TextRequest& request, EmptyText empty) {
  PreparedText made;
  encode_text(pipeline, request, made, empty);
  made.text = request.text;
  return made;
}

}  // namespace qdqbert::pipeline
