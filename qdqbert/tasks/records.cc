#include "qdqbert/tasks/records.h"

#include <algorithm>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/tasks/csv.h"

namespace qdqbert::tasks {

namespace {

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

void add_object(RecordFile& file, Json fields, size_t line) {
  Record record{line, std::move(fields)};
  if (!record.fields.is_object())
    fail("[data] {}: an object with named fields is needed, found {}", file.where(record),
         dump_json(record.fields, {.indent = -1}).substr(0, 60));
  if (file.columns.empty())
    for (const auto& [key, value] : record.fields.items()) file.columns.push_back(key);
  file.records.push_back(std::move(record));
}

void check_header(const RecordFile& file) {
  for (size_t i = 0; i < file.columns.size(); ++i)
    if (std::find(file.columns.begin(), file.columns.begin() + static_cast<std::ptrdiff_t>(i),
                  file.columns[i]) != file.columns.begin() + static_cast<std::ptrdiff_t>(i))
      fail("[data] {}: the column \"{}\" stands twice in the header", file.name, file.columns[i]);
}

void add_row(RecordFile& file, std::vector<std::string> row, size_t line) {
  Json fields = Json::object();
  for (size_t i = 0; i < row.size(); ++i) fields[file.columns[i]] = std::move(row[i]);
  file.records.push_back({line, std::move(fields)});
}

void read_csv(RecordFile& file, std::string_view text) {
  if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
    fail("[data] {}: byte {} is not valid UTF-8", file.name, bad);
  std::vector<CsvRecord> rows = parse_csv(text, file.name);
  if (rows.empty()) return;
  file.columns = std::move(rows[0].fields);
  check_header(file);
  for (size_t i = 1; i < rows.size(); ++i) add_row(file, std::move(rows[i].fields), rows[i].line);
}

void read_tsv(RecordFile& file, std::string_view text) {
  for (const TextLine& line : split_lines(text, file.name)) {
    if (line.text.empty()) continue;
    std::vector<std::string> row = split_fields(line.text, '\t');
    if (file.columns.empty()) {
      file.columns = std::move(row);
      check_header(file);
      continue;
    }
    if (row.size() != file.columns.size())
      fail("[data] {}:{}: {} fields, the header has {}", file.name, line.number, row.size(),
           file.columns.size());
    add_row(file, std::move(row), line.number);
  }
}

void read_json_lines(RecordFile& file, std::string_view text) {
  for (const TextLine& line : split_lines(text, file.name))
    if (!is_blank(line.text))
      add_object(file, parse_json(line.text, fmt::format("{}:{}", file.name, line.number)), line.number);
}

/// Whether the first line that is not blank is an object on its own and not the whole of a {"data": ...}.
bool looks_like_lines(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos || text[begin] != '{') return false;
  const size_t end = std::min(text.find('\n', begin), text.size());
  try {
    const Json first = parse_json(text.substr(begin, end - begin), "line");
    return !first.contains("data") || !first["data"].is_array();
  } catch (const InputError&) {
    return false;
  }
}

void read_json(RecordFile& file, std::string_view text) {
  if (looks_like_lines(text)) return read_json_lines(file, text);
  Json whole = parse_json(text, file.name);
  Json* list = &whole;
  if (whole.is_object()) {
    require(whole, "data", Json::value_t::array, file.name);
    list = &whole["data"];
  }
  if (!list->is_array()) fail("[data] {}: a list of objects is needed", file.name);
  size_t number = 0;
  for (Json& item : *list) add_object(file, std::move(item), ++number);
}

}  // namespace

std::vector<std::string> split_fields(std::string_view line, char separator) {
  std::vector<std::string> fields;
  for (size_t begin = 0;;) {
    const size_t end = line.find(separator, begin);
    fields.emplace_back(line.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return fields;
    begin = end + 1;
  }
}

std::string_view without_gz(std::string_view name) {
  constexpr std::string_view kEnd = ".gz";
  if (name.size() > kEnd.size() && name.substr(name.size() - kEnd.size()) == kEnd)
    name.remove_suffix(kEnd.size());
  return name;
}

std::vector<TextLine> split_lines(std::string_view text, std::string_view name) {
  if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
    fail("[data] {}: byte {} is not valid UTF-8", name, bad);
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::vector<TextLine> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.push_back({lines.size() + 1, line});
    begin = end + 1;
  }
  return lines;
}

bool RecordFile::has_column(std::string_view column) const {
  return std::find(columns.begin(), columns.end(), column) != columns.end();
}

std::string RecordFile::text(const Record& record, const std::string& column) const {
  const auto found = record.fields.find(column);
  if (found == record.fields.end()) fail("[data] {}: the column \"{}\" is missing", where(record), column);
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_integer() || found->is_boolean()) return found->dump();
  fail("[data] {}: \"{}\" must be a text, found {}", where(record), column,
       dump_json(*found, {.indent = -1}).substr(0, 60));
}

RecordFile parse_records(std::string_view text, RecordFormat format, const std::string& name) {
  RecordFile file;
  file.name = name;
  switch (format) {
    case RecordFormat::kCsv:
      read_csv(file, text);
      break;
    case RecordFormat::kTsv:
      read_tsv(file, text);
      break;
    case RecordFormat::kJsonLines:
      read_json_lines(file, text);
      break;
    case RecordFormat::kJson:
      read_json(file, text);
      break;
  }
  if (file.records.empty()) fail("[data] {} holds no examples", name);
  return file;
}

RecordFile read_records(const std::filesystem::path& path) {
  const std::string name = path.string();
  const std::filesystem::path kind = std::filesystem::path(without_gz(name)).extension();
  const auto read = [&](RecordFormat format) { return parse_records(read_maybe_gzip(path), format, name); };
  if (kind == ".csv") return read(RecordFormat::kCsv);
  if (kind == ".tsv") return read(RecordFormat::kTsv);
  if (kind == ".jsonl") return read(RecordFormat::kJsonLines);
  if (kind == ".json") return read(RecordFormat::kJson);
  fail("[data] {}: the file name must end in .csv, .tsv, .jsonl or .json (or one of these and .gz)", name);
}

}  // namespace qdqbert::tasks
