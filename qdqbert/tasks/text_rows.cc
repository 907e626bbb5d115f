#include "qdqbert/tasks/text_rows.h"

#include <algorithm>
#include <array>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/tasks/records.h"

namespace qdqbert::tasks {

namespace {

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

std::string column_of(const RecordFile& file, const std::string& wanted) {
  constexpr std::array kIds = {"id", "idx", "guid"};
  if (!wanted.empty()) return wanted;
  if (file.has_column("text") || file.columns.empty()) return "text";
  const auto first = std::find_if(file.columns.begin(), file.columns.end(), [&](const std::string& column) {
    return std::find(kIds.begin(), kIds.end(), column) == kIds.end();
  });
  return first == file.columns.end() ? file.columns[0] : *first;
}

bool is_id(const Record& record) {
  const auto found = record.fields.find("id");
  return found != record.fields.end() && (found->is_string() || found->is_number_integer());
}

}  // namespace

void TextRows::truncate(size_t count) {
  if (count >= texts.size()) return;
  texts.resize(count);
  ids.resize(count);
}

void TextRows::drop_empty() {
  size_t kept = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) continue;
    if (kept != i) {
      texts[kept] = std::move(texts[i]);
      ids[kept] = std::move(ids[i]);
    }
    ++kept;
  }
  texts.resize(kept);
  ids.resize(kept);
}

TextRows read_text_rows(const std::filesystem::path& path, const std::string& column) {
  const std::string name = path.string();
  TextRows rows;
  if (std::filesystem::path(without_gz(name)).extension() == ".txt") {
    const std::string content = read_maybe_gzip(path);
    for (const TextLine& line : split_lines(content, name)) rows.texts.emplace_back(line.text);
    for (size_t i = 0; i < rows.texts.size(); ++i) rows.ids.emplace_back(i);
  } else {
    const RecordFile file = read_records(path);
    const std::string chosen = column_of(file, column);
    const bool own_ids = chosen != "id" && std::all_of(file.records.begin(), file.records.end(), is_id);
    for (const Record& record : file.records) {
      const auto text = record.fields.find(chosen);
      const bool none = text != record.fields.end() && text->is_null();
      rows.texts.push_back(none ? "" : file.text(record, chosen));
      rows.ids.push_back(own_ids ? record.fields.at("id") : Json(rows.ids.size()));
    }
  }
  if (std::all_of(rows.texts.begin(), rows.texts.end(), is_blank)) fail("[data] {} holds no text", name);
  return rows;
}

}  // namespace qdqbert::tasks
