#include "qdqbert/text/vocabulary.h"

#include <algorithm>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/log.h"
#include "qdqbert/base/utf8.h"

namespace qdqbert::text {

Vocabulary::Vocabulary(std::vector<std::string> tokens, const std::string& name)
    : tokens_(std::move(tokens)) {
  if (tokens_.empty()) fail("[vocabulary] {} holds no tokens", name);
  ids_.reserve(tokens_.size());
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& token = tokens_[i];
    if (token.empty()) continue;
    if (find_invalid_utf8(token) != std::string_view::npos)
      fail("[vocabulary] {}: line {} is not valid UTF-8", name, i + 1);
    const auto [at, inserted] = ids_.emplace(token, static_cast<int32_t>(i));
    if (!inserted)
      fail("[vocabulary] {}: \"{}\" stands on line {} and again on line {}", name, token, at->second + 1,
           i + 1);
  }
  if (ids_.empty()) fail("[vocabulary] {} holds no tokens", name);
}

Vocabulary Vocabulary::read(const std::filesystem::path& path) {
  const std::string content = read_file(path, size_t{1} << 28);
  std::vector<std::string> tokens;
  size_t begin = 0;
  size_t with_carriage_return = 0;
  while (begin < content.size()) {
    size_t end = content.find('\n', begin);
    if (end == std::string::npos) end = content.size();
    tokens.emplace_back(content, begin, end - begin);
    if (tokens.back().size() > 1 && tokens.back().back() == '\r') ++with_carriage_return;
    begin = end + 1;
  }
  if (with_carriage_return > tokens.size() / 2) {
    for (std::string& token : tokens)
      if (!token.empty() && token.back() == '\r') token.pop_back();
    log_warning("[vocabulary] {} has Windows line ends (\\r\\n on {} of {} lines)", path.string(),
                with_carriage_return, tokens.size());
  }
  while (!tokens.empty() && tokens.back().empty()) tokens.pop_back();
  if (const auto blank = std::count(tokens.begin(), tokens.end(), ""); blank > 0)
    log_warning("[vocabulary] {} has {} blank lines; their ids stand for nothing", path.string(), blank);
  return Vocabulary(std::move(tokens), path.string());
}

std::string_view Vocabulary::token(int64_t id) const {
  return id >= 0 && static_cast<size_t>(id) < tokens_.size()
             ? std::string_view(tokens_[static_cast<size_t>(id)])
             : "";
}

int32_t Vocabulary::id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

}  // namespace qdqbert::text
