// Ids back to text.
#include "qdqbert/text/tokenizer.h"

namespace qdqbert::text {

namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  size_t at = text.find(from);
  if (at == std::string::npos) return;
  std::string out;
  out.reserve(text.size());
  size_t copied = 0;
  for (; at != std::string::npos; at = text.find(from, copied)) {
    out.append(text, copied, at - copied).append(to);
    copied = at + from.size();
  }
  text = out.append(text, copied);
}

}  // namespace

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool skip_special, bool clean_up) const {
  std::string text;
  bool first = true;
  for (const int32_t id : ids) {
    const std::string_view token = vocabulary_.token(id);
    if (token.empty() || (skip_special && is_special(id))) continue;
    if (first) {
      text += token;
    } else if (token.size() > 2 && token.starts_with("##")) {
      text += token.substr(2);
    } else {
      text += ' ';
      text += token;
    }
    first = false;
  }
  for (const std::string_view mark : {" .", " ?", " !", " ,"}) replace_all(text, mark, mark.substr(1));
  if (clean_up) {
    replace_all(text, " ' ", "'");
    for (const std::string_view tail : {" n't", " 'm", " 's", " 've", " 're"})
      replace_all(text, tail, tail.substr(1));
  }
  return text;
}

}  // namespace qdqbert::text
