// Files of texts, one a row.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "qdqbert/base/json.h"

namespace qdqbert::tasks {

struct TextRows {
  std::vector<std::string> texts;
  /// Field "id" of records, a text or an integer, where every record has one; else the row's number from 0.
  std::vector<Json> ids;

  /// Keeps the first `count` rows.
  void truncate(size_t count);
  /// Removes rows whose text is empty.
  void drop_empty();
};

/// The lines of a .txt file, or one column of records (.csv, .tsv, .jsonl, .json; `column` empty: "text", else
/// the first that is no id). Each also with .gz behind. A row without text, or with null, is an empty text.
/// Throws InputError when there is no text but white space.
TextRows read_text_rows(const std::filesystem::path& path, const std::string& column = "");

}  // namespace qdqbert::tasks
