#include "qdqbert/tasks/choice_dataset.h"

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

namespace qdqbert::tasks {

namespace {

std::optional<int64_t> as_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

int64_t checked_answer(const std::string& text, const ChoiceExample& example, const std::string& where) {
  const auto by_text = std::find(example.choices.begin(), example.choices.end(), text);
  if (by_text != example.choices.end() && !as_number(text)) return by_text - example.choices.begin();
  const auto number = as_number(text);
  if (!number)
    fail("[data] {}: the answer \"{}\" is none of the {} choices", where, text, example.choices.size());
  if (*number < 0 || static_cast<size_t>(*number) >= example.choices.size())
    fail("[data] {}: the answer is number {}, the choices are 0 to {}", where, *number,
         example.choices.size() - 1);
  return *number;
}

/// Hidden answers are -1 or empty in published test sets.
bool is_absent(const Json& value) {
  return value.is_null() || value == "" || value == "-1" || (value.is_number() && value.get<double>() == -1);
}

ChoiceExample read_swag(const RecordFile& file, const Record& record) {
  ChoiceExample example;
  example.prompt = file.text(record, "sent1");
  const std::string begin = file.text(record, "sent2");
  for (size_t i = 0; file.has_column(fmt::format("ending{}", i)); ++i)
    example.choices.push_back(begin + " " + file.text(record, fmt::format("ending{}", i)));
  return example;
}

ChoiceExample read_commonsense(const RecordFile& file, const Record& record) {
  const std::string where = file.where(record);
  const Json& question = record.fields["question"];
  ChoiceExample example;
  example.prompt = require(question, "stem", Json::value_t::string, where).get<std::string>();
  const auto key = record.fields.find("answerKey");
  for (const Json& choice : require(question, "choices", Json::value_t::array, where)) {
    const auto& label = require(choice, "label", Json::value_t::string, where);
    if (key != record.fields.end() && label == *key)
      example.answer = static_cast<int64_t>(example.choices.size());
    example.choices.push_back(require(choice, "text", Json::value_t::string, where).get<std::string>());
  }
  if (key != record.fields.end() && !is_absent(*key) && !example.answer)
    fail("[data] {}: the answer {} is none of the {} choices", where, dump_json(*key, {.indent = -1}),
         example.choices.size());
  return example;
}

ChoiceExample read_plain(const RecordFile& file, const Record& record) {
  const std::string where = file.where(record);
  ChoiceExample example;
  const auto has = [&](const char* name) { return record.fields.contains(name); };
  for (const char* name : {"context", "prompt", "question", "sentence"}) {
    if (!has(name)) continue;
    const std::string text = file.text(record, name);
    example.prompt += (example.prompt.empty() || text.empty() ? "" : " ") + text;
  }
  if (!has("context") && !has("prompt") && !has("question") && !has("sentence"))
    fail("[data] {}: there is no \"prompt\" (or question, context, sentence)", where);
  const auto choices = record.fields.find("choices");
  if (choices == record.fields.end() || !choices->is_array())
    fail("[data] {}: \"choices\" must be a list of texts", where);
  for (const Json& choice : *choices) {
    if (!choice.is_string())
      fail("[data] {}: \"choices\" must hold texts, found {}", where,
           dump_json(choice, {.indent = -1}).substr(0, 60));
    example.choices.push_back(choice.get<std::string>());
  }
  return example;
}

std::string identifier(const RecordFile& file, const Record& record, size_t position) {
  for (const char* name : {"id", "idx"})
    if (record.fields.contains(name)) return file.text(record, name);
  return std::to_string(position);
}

void check(const ChoiceData& data) {
  std::unordered_set<std::string_view> ids;
  for (const ChoiceExample& example : data.examples) {
    if (example.choices.empty()) fail("[data] {}:{}: there are no choices", data.name, example.line);
    if (!ids.insert(example.id).second)
      fail("[data] {}:{}: the id \"{}\" occurs twice", data.name, example.line, example.id);
  }
}

bool all_answered(const ChoiceData& data) {
  return std::all_of(data.examples.begin(), data.examples.end(),
                     [](const auto& e) { return e.answer.has_value(); });
}

bool has_known_header(std::string_view line) {
  for (const std::string& field : split_fields(line, '\t'))
    if (field == "sent1" || field == "ending0") return true;
  return false;
}

}  // namespace

size_t ChoiceData::most_choices() const {
  size_t most = 0;
  for (const ChoiceExample& example : examples) most = std::max(most, example.choices.size());
  return most;
}

bool ChoiceData::uniform() const {
  return choice_count() == most_choices() * examples.size();
}

size_t ChoiceData::choice_count() const {
  size_t count = 0;
  for (const ChoiceExample& example : examples) count += example.choices.size();
  return count;
}

ChoiceData parse_choices(const RecordFile& file, bool labels_required) {
  ChoiceData data;
  data.name = file.name;
  const bool swag = file.has_column("sent1") && file.has_column("ending0");
  for (const Record& record : file.records) {
    const bool published =
        !swag && record.fields.contains("question") && record.fields["question"].is_object();
    ChoiceExample example = swag        ? read_swag(file, record)
                            : published ? read_commonsense(file, record)
                                        : read_plain(file, record);
    example.line = record.line;
    example.id = identifier(file, record, data.examples.size());
    if (example.choices.empty()) fail("[data] {}: there are no choices", file.where(record));
    if (!published)
      for (const char* name : {"answer", "label"})
        if (const auto found = record.fields.find(name); found != record.fields.end() && !is_absent(*found)) {
          example.answer = checked_answer(file.text(record, name), example, file.where(record));
          break;
        }
    if (labels_required && !example.answer)
      fail("[data] {}: there is no answer (\"answer\" or \"label\")", file.where(record));
    data.examples.push_back(std::move(example));
  }
  data.labelled = all_answered(data);
  check(data);
  return data;
}

ChoiceData parse_codah(std::string_view text, const std::string& name) {
  constexpr size_t kLeastFields = 4;  // category, prompt, one choice, answer
  ChoiceData data;
  data.name = name;
  for (const TextLine& line : split_lines(text, name)) {
    if (line.text.empty()) continue;
    std::vector<std::string> fields = split_fields(line.text, '\t');
    if (fields.size() < kLeastFields)
      fail("[data] {}:{}: {} fields; category, prompt, choices and answer are needed", name, line.number,
           fields.size());
    ChoiceExample example;
    example.line = line.number;
    example.id = std::to_string(data.examples.size());
    example.prompt = fields[1];
    example.choices.assign(fields.begin() + 2, fields.end() - 1);
    if (!as_number(fields.back()))
      fail("[data] {}:{}: the last field must be the number of the right choice, found \"{}\"", name,
           line.number, fields.back().substr(0, 60));
    if (!is_absent(fields.back()))
      example.answer = checked_answer(fields.back(), example, fmt::format("{}:{}", name, line.number));
    data.examples.push_back(std::move(example));
  }
  if (data.examples.empty()) fail("[data] {} holds no examples", name);
  data.labelled = all_answered(data);
  return data;
}

ChoiceData read_choices(const std::filesystem::path& path, bool labels_required) {
  const std::string name = path.string();
  if (std::filesystem::path(without_gz(name)).extension() != ".tsv")
    return parse_choices(read_records(path), labels_required);
  const std::string text = read_maybe_gzip(path);
  if (has_known_header(std::string_view(text).substr(0, text.find_first_of("\r\n"))))
    return parse_choices(parse_records(text, RecordFormat::kTsv, name), labels_required);
  ChoiceData data = parse_codah(text, name);
  if (labels_required && !data.labelled) fail("[data] {}: some examples have no answer", name);
  return data;
}

}  // namespace qdqbert::tasks
