// Token strings and their ids.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace qdqbert::text {

class Vocabulary {
 public:
  /// Ids are positions. An empty token is one that no text has. Throws InputError naming `name` for a list
  /// without tokens, a repeated token and invalid UTF-8.
  Vocabulary(std::vector<std::string> tokens, const std::string& name);

  /// vocab.txt: one token a line, split at \n only (a line may be any other white space character); the last
  /// line may or may not end in \n. Blank lines have their number as id, which no text reaches; those at the end
  /// are left out. Carriage returns before most line ends belong to these. Both are warned of.
  static Vocabulary read(const std::filesystem::path& path);

  size_t size() const { return tokens_.size(); }
  /// "" for ids outside the vocabulary.
  std::string_view token(int64_t id) const;
  /// -1 when absent.
  int32_t id(std::string_view token) const;
  const std::vector<std::string>& tokens() const { return tokens_; }

 private:
  std::vector<std::string> tokens_;
  std::unordered_map<std::string_view, int32_t> ids_;
};

}  // namespace qdqbert::text
