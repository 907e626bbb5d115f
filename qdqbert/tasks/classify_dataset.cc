#include "qdqbert/tasks/classify_dataset.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"

namespace qdqbert::tasks {

namespace {

std::string shown(const Json& value) {
  return dump_json(value, {.indent = -1}).substr(0, 60);
}

std::optional<double> number_of(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool is_integer(const Json& value) {
  if (value.is_number()) return value.is_number_integer();
  return value.is_string() &&
         value.get_ref<const std::string&>().find_first_not_of("-0123456789") == std::string::npos;
}

std::vector<std::string> default_text_columns(const RecordFile& file, const std::string& label) {
  if (file.has_column("sentence1") && file.has_column("sentence2")) return {"sentence1", "sentence2"};
  for (const char* name : {"text", "sentence"})
    if (file.has_column(name) && name != label) return {name};
  std::vector<std::string> others;
  for (const std::string& column : file.columns) {
    const bool no_text = column == label || column == "label" || column == "labels" || column == "id" ||
                         column == "idx" || column == "guid";
    if (!no_text && others.size() < 2) others.push_back(column);
  }
  if (others.empty()) fail("[data] {} has no column with text; name it with --text_column_names", file.name);
  return others;
}

/// Null where the record has no label.
const Json& label_of(const Record& record, const ClassifyColumns& columns) {
  static const Json none;
  const auto label = record.fields.find(columns.label);
  return label == record.fields.end() ? none : *label;
}

ClassifyKind kind_of(const RecordFile& file, const ClassifyColumns& columns) {
  if (columns.kind) return *columns.kind;
  if (columns.label_separator) return ClassifyKind::kMultiLabel;
  bool numbers = true, integers = true;
  for (const Record& record : file.records) {
    const Json& label = label_of(record, columns);
    if (is_no_label(label, columns.no_label)) continue;
    if (label.is_array()) return ClassifyKind::kMultiLabel;
    numbers = numbers && number_of(label).has_value();
    integers = integers && is_integer(label);
  }
  return numbers && !integers ? ClassifyKind::kRegression : ClassifyKind::kSingleLabel;
}

std::string label_text(const Json& value, const std::string& where) {
  if (value.is_string() && !value.get_ref<const std::string&>().empty()) return value.get<std::string>();
  if (value.is_number_integer() || value.is_boolean()) return value.dump();
  fail("[data] {}: a label must be a text or an integer, found {}", where, shown(value));
}

std::vector<std::string> several_labels(const Json& value, const std::optional<std::string>& separator,
                                        const std::string& where) {
  std::vector<std::string> labels;
  if (value.is_array()) {
    for (const Json& item : value) labels.push_back(label_text(item, where));
  } else if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = separator ? std::min(text.find(*separator, begin), text.size()) : text.size();
      if (end > begin) labels.push_back(text.substr(begin, end - begin));
      begin = end + (separator ? separator->size() : 1);
    }
  } else {
    labels.push_back(label_text(value, where));
  }
  std::sort(labels.begin(), labels.end());
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  return labels;
}

/// An empty field is an empty set where there may be several labels.
bool means_no_labels(const Json& value, ClassifyKind kind) {
  return kind == ClassifyKind::kMultiLabel && value.is_string() &&
         value.get_ref<const std::string&>().empty();
}

void read_label(ClassifyExample& example, const Json& value, ClassifyKind kind,
                const ClassifyColumns& columns, const std::string& where) {
  switch (kind) {
    case ClassifyKind::kMultiLabel:
      example.labels = several_labels(value, columns.label_separator, where);
      break;
    case ClassifyKind::kRegression: {
      const std::optional<double> number = number_of(value);
      if (!number || !std::isfinite(*number))
        fail("[data] {}: regression (one label in the model) needs a number as label, found {}", where,
             shown(value));
      example.value = *number;
      break;
    }
    case ClassifyKind::kSingleLabel:
      if (value.is_array())
        fail("[data] {}: one label is needed, found {}; give --multi_label for several", where, shown(value));
      example.labels = {label_text(value, where)};
      break;
  }
}

/// Marks that are no numbers: a number that is to be predicted may be -1.
std::vector<std::string> marks_for(ClassifyKind kind, std::vector<std::string> marks) {
  if (kind == ClassifyKind::kRegression)
    std::erase_if(marks, [](const std::string& mark) { return number_of(mark).has_value(); });
  return marks;
}

/// False for a label of another kind.
bool try_label(ClassifyExample& example, const Json& value, ClassifyKind kind,
               const ClassifyColumns& columns) {
  try {
    read_label(example, value, kind, columns, "");
    return true;
  } catch (const InputError&) {
    return false;
  }
}

/// Published test sets of numbers have -1 everywhere.
bool all_hidden(const ClassifyData& data) {
  return data.kind == ClassifyKind::kRegression &&
         std::all_of(data.examples.begin(), data.examples.end(),
                     [](const ClassifyExample& example) { return example.value == -1; });
}

std::vector<std::string> texts_of(const std::vector<ClassifyExample>& examples,
                                  std::string ClassifyExample::*member) {
  std::vector<std::string> texts;
  texts.reserve(examples.size());
  for (const ClassifyExample& example : examples) texts.push_back(example.*member);
  return texts;
}

}  // namespace

std::vector<std::string> ClassifyData::first_texts() const {
  return texts_of(examples, &ClassifyExample::first);
}

std::vector<std::string> ClassifyData::second_texts() const {
  return pairs ? texts_of(examples, &ClassifyExample::second) : std::vector<std::string>{};
}

std::vector<std::string> ClassifyData::labels() const {
  std::vector<std::string> all;
  for (const ClassifyExample& example : examples)
    all.insert(all.end(), example.labels.begin(), example.labels.end());
  return sorted_labels(std::move(all));
}

ClassifyData parse_classify(const RecordFile& file, const ClassifyColumns& columns) {
  ClassifyData data;
  data.name = file.name;
  data.labelled = file.has_column(columns.label);
  if (!data.labelled && columns.labels_required) {
    std::string list;
    for (const std::string& column : file.columns) list += (list.empty() ? "" : ", ") + column;
    fail("[data] {} has no column \"{}\"; it has {} (name the right one with --label_column_name)", file.name,
         columns.label, list);
  }
  const std::vector<std::string> texts =
      columns.text.empty() ? default_text_columns(file, columns.label) : columns.text;
  if (!columns.delimiter && texts.size() > 2)
    fail("[data] {} text columns; one or two are possible, more only with --text_column_delimiter",
         texts.size());
  data.pairs = texts.size() == 2 && !columns.delimiter;
  if (data.labelled)
    data.kind = kind_of(file, columns);
  else
    data.kind = columns.kind.value_or(ClassifyKind::kSingleLabel);
  size_t empty = 0;
  const std::vector<std::string> marks = marks_for(data.kind, columns.no_label);
  std::vector<Json> found;
  for (const Record& record : file.records) {
    ClassifyExample example;
    example.line = record.line;
    example.first = file.text(record, texts[0]);
    if (data.pairs) example.second = file.text(record, texts[1]);
    if (columns.delimiter)
      for (size_t i = 1; i < texts.size(); ++i)
        example.first += *columns.delimiter + file.text(record, texts[i]);
    if (data.labelled) {
      const Json& label = label_of(record, columns);
      if (is_no_label(label, marks) && !means_no_labels(label, data.kind)) {
        ++data.unlabelled;
        found.push_back(label);
        if (columns.labels_required) continue;
      } else if (columns.labels_required) {
        read_label(example, label, data.kind, columns, file.where(record));
      } else if (!try_label(example, label, data.kind, columns)) {
        ++data.unlabelled;
      }
    }
    empty += example.first.empty() && example.second.empty();
    data.examples.push_back(std::move(example));
  }
  if (data.examples.empty())
    fail("[data] {}: no row has a label (column \"{}\"), all have {}", file.name, columns.label,
         list_of_marks(found));
  if (columns.labels_required && data.unlabelled > 0)
    log_warning(
        "{}: {} of {} rows have no label ({}) and are left out; --no_label_marks says what means that",
        file.name, data.unlabelled, file.records.size(), list_of_marks(found));
  if (!columns.labels_required && data.labelled && all_hidden(data)) data.unlabelled = data.examples.size();
  if (!columns.labels_required && data.unlabelled > 0) data.labelled = false;
  if (empty > 0) log_warning("{}: {} of {} texts are empty", file.name, empty, data.examples.size());
  return data;
}

ClassifyData read_classify(const std::filesystem::path& path, const ClassifyColumns& columns) {
  return parse_classify(read_records(path), columns);
}

}  // namespace qdqbert::tasks
