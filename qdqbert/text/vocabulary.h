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
  /// Ids are positions. Throws InputError naming `name` for an empty list,
  /// an empty or repeated token and invalid UTF-8.
  Vocabulary(std::vector<std::string> tokens, const std::string& name);

  /// vocab.txt: one token a line, split at \n only (a line may be any other white space character); the last
  /// line may or may not end in \n. Carriage returns before every \n are refused with the remedy.
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
