// Files of examples as named fields: CSV, TSV and JSON, whatever the task.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "qdqbert/base/json.h"

namespace qdqbert::tasks {

struct Record {
  size_t line = 1;  ///< where it starts; 1, 2, ... by position in a JSON list
  Json fields;      ///< an object; values of CSV and TSV files are strings
};

struct RecordFile {
  std::string name;                  ///< of the file, for messages
  std::vector<std::string> columns;  ///< of the header, or of the first record
  std::vector<Record> records;

  bool has_column(std::string_view column) const;
  std::string where(const Record& record) const { return fmt::format("{}:{}", name, record.line); }
  /// The field as text: strings as they are, integers and truth values as JSON writes them. Throws InputError
  /// naming file, line and column when it is absent or anything else.
  std::string text(const Record& record, const std::string& column) const;
};

enum class RecordFormat { kCsv, kTsv, kJsonLines, kJson };

/// kCsv: RFC 4180 with a header. kTsv: a header, tabs, no quotes (a quote is a character like others),
/// as many fields on every line. kJsonLines: one object a line, empty lines skipped. kJson: JSON
/// lines, a list of objects, or {"data": [...]}. Throws InputError naming `name` and the line for
/// ill-formed text and for a file without records.
RecordFile parse_records(std::string_view text, RecordFormat format, const std::string& name);

/// By the ending: .csv, .tsv, .jsonl, .json, each also with .gz behind.
RecordFile read_records(const std::filesystem::path& path);

/// Lines with their numbers; CR before the line end is dropped, empty lines are kept.
/// Throws InputError for text that is not UTF-8.
struct TextLine {
  size_t number;
  std::string_view text;
};
std::vector<TextLine> split_lines(std::string_view text, std::string_view name);

/// "a,,b" at ',' is "a", "", "b".
std::vector<std::string> split_fields(std::string_view line, char separator);

/// The name without ".gz".
std::string_view without_gz(std::string_view name);

}  // namespace qdqbert::tasks
