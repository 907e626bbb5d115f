#include "qdqbert/tasks/csv.h"

#include "qdqbert/base/error.h"

namespace qdqbert::tasks {

std::vector<CsvRecord> parse_csv(std::string_view text, std::string_view name) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::vector<CsvRecord> records;
  size_t line = 1;
  size_t at = 0;
  const auto ends_line = [&](size_t i) {
    return text[i] == '\n' || (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n');
  };
  while (at < text.size()) {
    CsvRecord record;
    record.line = line;
    for (bool more = true; more;) {
      std::string field;
      if (at < text.size() && text[at] == '"') {
        for (++at;; ++at) {
          if (at >= text.size())
            fail("[csv] {}: the quote opened in the record at line {} is never closed", name, record.line);
          if (text[at] == '"') {
            if (at + 1 >= text.size() || text[at + 1] != '"') break;
            ++at;
          }
          if (text[at] == '\n') ++line;
          field += text[at];
        }
        ++at;
        if (at < text.size() && text[at] != ',' && !ends_line(at))
          fail("[csv] {}: line {} has text after a closing quote", name, line);
      } else {
        const size_t begin = at;
        while (at < text.size() && text[at] != ',' && !ends_line(at)) ++at;
        field = text.substr(begin, at - begin);
      }
      record.fields.push_back(std::move(field));
      more = at < text.size() && text[at] == ',';
      if (more) ++at;
    }
    if (at < text.size()) {
      at += text[at] == '\r' ? 2 : 1;
      ++line;
    }
    if (record.fields.size() == 1 && record.fields[0].empty()) continue;
    if (!records.empty() && record.fields.size() != records[0].fields.size())
      fail("[csv] {}: the record at line {} has {} fields, the header has {}", name, record.line,
           record.fields.size(), records[0].fields.size());
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace qdqbert::tasks
