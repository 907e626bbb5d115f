#include "qdqbert/tasks/tag_dataset.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/log.h"

namespace qdqbert::tasks {

namespace {

std::vector<std::string> columns_of(std::string_view line) {
  if (line.find('\t') != std::string_view::npos) return split_fields(line, '\t');
  std::vector<std::string> columns;
  for (size_t begin = line.find_first_not_of(' '); begin != std::string_view::npos;) {
    const size_t end = std::min(line.find(' ', begin), line.size());
    columns.emplace_back(line.substr(begin, end - begin));
    begin = line.find_first_not_of(' ', end);
  }
  return columns;
}

std::string chosen(const RecordFile& file, const std::string& wanted,
                   std::initializer_list<const char*> usual, size_t position) {
  if (!wanted.empty()) return wanted;
  for (const char* name : usual)
    if (file.has_column(name)) return name;
  return position < file.columns.size() ? file.columns[position] : "";
}

std::vector<std::string> list_of(const RecordFile& file, const Record& record, const std::string& column,
                                 const std::vector<std::string>* marks = nullptr) {
  const auto found = record.fields.find(column);
  if (found == record.fields.end() || !found->is_array())
    fail("[data] {}: \"{}\" must be a list with one entry per word", file.where(record), column);
  std::vector<std::string> list;
  for (const Json& item : *found) {
    if (marks && is_no_label(item, *marks)) {
      list.emplace_back();
      continue;
    }
    if (!item.is_string() && !item.is_number_integer())
      fail("[data] {}: \"{}\" must hold texts, found {}", file.where(record), column,
           dump_json(item, {.indent = -1}).substr(0, 60));
    list.push_back(item.is_string() ? item.get<std::string>() : item.dump());
  }
  return list;
}

std::vector<std::string> tags_of(const RecordFile& file, const Record& record, const std::string& column,
                                 size_t words) {
  std::vector<std::string> tags = list_of(file, record, column, &usual_no_tag_marks());
  if (tags.size() != words) fail("[data] {}: {} words, {} tags", file.where(record), words, tags.size());
  return tags;
}

/// Nothing where the record has no tags, or other things than one for each word.
std::optional<std::vector<std::string>> try_tags(const RecordFile& file, const Record& record,
                                                 const std::string& column, size_t words) {
  try {
    return tags_of(file, record, column, words);
  } catch (const InputError&) {
    return std::nullopt;
  }
}

/// Warns of what has no tag, and refuses data in which nothing has one.
void check_tags(const TagData& data) {
  size_t without = 0, words = 0;
  for (const TagExample& example : data.examples) {
    words += example.words.size();
    without += static_cast<size_t>(std::count(example.tags.begin(), example.tags.end(), ""));
  }
  if (data.untagged > 0)
    log_warning("{}: {} sentences have no tags and are left out", data.name, data.untagged);
  if (without > 0)
    log_warning("{}: {} of {} words have no tag and are neither trained on nor scored", data.name, without,
                words);
  if (without == words && words > 0) fail("[data] {}: no word has a tag", data.name);
}

}  // namespace

std::vector<std::string> TagData::tags() const {
  std::vector<std::string> all;
  for (const TagExample& example : examples)
    std::copy_if(example.tags.begin(), example.tags.end(), std::back_inserter(all),
                 [](const std::string& tag) { return !tag.empty(); });
  return sorted_labels(std::move(all));
}

void TagData::name_numbers(const LabelMap& labels) {
  for (TagExample& example : examples)
    for (std::string& tag : example.tags)
      if (is_number(tag)) tag = labels.name(labels.id(tag, where(example)));
}

size_t TagData::drop_untagged() {
  return std::erase_if(examples, [](const TagExample& example) {
    return std::all_of(example.tags.begin(), example.tags.end(), [](const auto& tag) { return tag.empty(); });
  });
}

TagData parse_conll(std::string_view text, const std::string& name, const TagColumns& columns) {
  TagData data;
  data.name = name;
  data.labelled = true;
  size_t width = 0;
  TagExample sentence;
  const auto finish = [&] {
    if (!sentence.words.empty()) data.examples.push_back(std::move(sentence));
    sentence = {};
  };
  for (const TextLine& line : split_lines(text, name)) {
    if (line.text.find_first_not_of(" \t") == std::string_view::npos) {
      finish();
      continue;
    }
    if (line.text.starts_with("-DOCSTART-")) {
      finish();
      continue;
    }
    std::vector<std::string> fields = columns_of(line.text);
    if (width == 0) {
      width = fields.size();
      data.labelled = width > 1;
      if (!data.labelled && columns.labels_required)
        fail("[data] {}:{}: one column; a word and its tag are needed", name, line.number);
    }
    if (fields.size() != width)
      fail("[data] {}:{}: {} columns, the lines before have {}", name, line.number, fields.size(), width);
    if (fields.front().empty() || fields.back().empty())
      fail("[data] {}:{}: the {} is empty", name, line.number, fields.front().empty() ? "word" : "tag");
    if (sentence.words.empty()) sentence.line = line.number;
    if (data.labelled)
      sentence.tags.push_back(is_no_label(fields.back(), usual_no_tag_marks()) ? ""
                                                                               : std::move(fields.back()));
    sentence.words.push_back(std::move(fields.front()));
  }
  finish();
  if (data.examples.empty()) fail("[data] {} holds no sentences", name);
  if (data.labelled && columns.labels_required) check_tags(data);
  return data;
}

TagData parse_tag_records(const RecordFile& file, const TagColumns& columns) {
  const std::string text = chosen(file, columns.text, {"tokens", "words"}, 0);
  const std::string label = chosen(file, columns.label, {"ner_tags", "tags"}, 1);
  TagData data;
  data.name = file.name;
  data.labelled = file.has_column(label);
  if (!data.labelled && columns.labels_required)
    fail("[data] {} has no column \"{}\" with tags; name it with --label_column_name", file.name,
         label.empty() ? "ner_tags" : label);
  for (const Record& record : file.records) {
    TagExample example;
    example.line = record.line;
    example.words = list_of(file, record, text);
    if (data.labelled) {
      const auto field = record.fields.find(label);
      const bool none = field == record.fields.end() || field->is_null();
      auto tags = none ? std::nullopt
                  : columns.labels_required
                      ? std::optional(tags_of(file, record, label, example.words.size()))
                      : try_tags(file, record, label, example.words.size());
      if (!tags) ++data.untagged;
      if (!tags && columns.labels_required) continue;
      example.tags = std::move(tags).value_or(std::vector<std::string>{});
    }
    data.examples.push_back(std::move(example));
  }
  if (data.examples.empty()) fail("[data] {}: no sentence has tags (field \"{}\")", file.name, label);
  if (columns.labels_required) check_tags(data);
  if (!columns.labels_required && data.untagged > 0) data.labelled = false;
  return data;
}

TagData read_tags(const std::filesystem::path& path, const TagColumns& columns) {
  constexpr std::array kColumnEndings = {".conll", ".conll2003", ".bio", ".iob", ".iob2", ".txt", ".tsv"};
  const std::string name = path.string();
  const std::string kind = std::filesystem::path(without_gz(name)).extension().string();
  if (kind == ".json" || kind == ".jsonl") return parse_tag_records(read_records(path), columns);
  if (std::find(kColumnEndings.begin(), kColumnEndings.end(), kind) != kColumnEndings.end())
    return parse_conll(read_maybe_gzip(path), name, columns);
  fail("[data] {}: tagged words are read from .conll (.bio, .iob, .txt, .tsv), .jsonl and .json files", name);
}

}  // namespace qdqbert::tasks
