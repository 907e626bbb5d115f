// Comma-separated values as RFC 4180 describes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace qdqbert::tasks {

struct CsvRecord {
  size_t line = 1;  ///< where the record starts; a quoted field may span lines
  std::vector<std::string> fields;
};

/// Records of `text`, the header among them. Lines end in LF or CRLF, a byte order mark is skipped, empty
/// lines are left out. Throws InputError naming `name` and the line for an open quote, text after a closing
/// quote, or a record with another number of fields than the first.
std::vector<CsvRecord> parse_csv(std::string_view text, std::string_view name);

}  // namespace qdqbert::tasks
