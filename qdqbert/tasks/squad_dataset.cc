#include "qdqbert/tasks/squad_dataset.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/log.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/tasks/csv.h"

namespace qdqbert::tasks {

namespace {

using Type = Json::value_t;

/// Collects the examples of one file and checks what concerns more than one record.
class Reader {
 public:
  Reader(const std::string& name, const SquadReadOptions& options) : name_(name), options_(options) {}

  void read_article(const Json& article, size_t number) {
    const std::string where = fmt::format("{}, article {}", name_, number);
    const SharedText title = share(optional_string(article, "title", where));
    size_t paragraph_number = 0;
    for (const Json& paragraph : require(article, "paragraphs", Type::array, where)) {
      const std::string inside = fmt::format("{}, paragraph {}", where, ++paragraph_number);
      const SharedText context = share(string_of(paragraph, "context", inside));
      for (const Json& question : require(paragraph, "qas", Type::array, inside))
        read_question(question, title, context, inside);
    }
  }

  void read_record(const Json& record, const std::string& where) {
    const SharedText title = share(optional_string(record, "title", where));
    read_question(record, title, share(string_of(record, "context", where)), where);
  }

  void add(SquadExample example) {
    if (options_.offsets == OffsetCheck::kRefuse)
      for (const SquadAnswer& answer : example.answers) check_offset(example, answer);
    if (options_.offsets == OffsetCheck::kSkip && !keep_right_answers(example)) return;
    examples_.push_back(std::move(example));
  }

  SharedText share(const std::string& text) {
    const auto found = shared_.find(text);
    if (found != shared_.end()) return found->second;
    auto copy = std::make_shared<const std::string>(text);
    shared_.emplace(*copy, copy);
    return copy;
  }

  std::vector<SquadAnswer> answers_of(const Json& answers, const std::string& where) const {
    std::vector<SquadAnswer> out;
    if (answers.is_array()) {
      for (const Json& answer : answers) {
        const auto& text = require(answer, "text", Type::string, where).get_ref<const std::string&>();
        out.push_back({text, start_of(place_of(answer, where), where)});
      }
      return out;
    }
    const Json& texts = require(answers, "text", Type::array, where);
    const Json& starts = place_of(answers, where);
    if (starts.is_array() ? texts.size() != starts.size() : options_.offsets == OffsetCheck::kRefuse)
      fail("[squad] {}: {} answer texts, {} answer starts", where, texts.size(),
           starts.is_array() ? starts.size() : 0);
    for (size_t i = 0; i < texts.size(); ++i) {
      if (!texts[i].is_string()) fail("[squad] {}: answer text {} is not a string", where, i);
      out.push_back(
          {texts[i].get_ref<const std::string&>(), start_of(starts.is_array() ? starts[i] : Json(), where)});
    }
    return out;
  }

  std::vector<SquadExample> finish() {
    if (examples_.empty() && skipped_questions_ > 0)
      fail("[squad] {}: none of the {} questions has an answer that stands where it says; {}", name_,
           skipped_questions_, first_skipped_);
    if (examples_.empty()) fail("[squad] {}: holds no questions", name_);
    if (skipped_answers_ > 0)
      log_warning(
          "{}: {} answers do not stand in their contexts where they say and are left out, with {} questions of {} "
          "(--strict_offsets refuses such files); the first: {}",
          name_, skipped_answers_, skipped_questions_, examples_.size() + skipped_questions_, first_skipped_);
    std::unordered_set<std::string_view> ids;
    ids.reserve(examples_.size());
    for (const SquadExample& example : examples_)
      if (!ids.insert(example.id).second) fail("[squad] {}: the id \"{}\" occurs twice", name_, example.id);
    return std::move(examples_);
  }

 private:
  static const std::string& string_of(const Json& object, std::string_view key, const std::string& where) {
    return require(object, key, Type::string, where).get_ref<const std::string&>();
  }

  /// Annotation tools write null.
  static std::string optional_string(const Json& object, const std::string& key, const std::string& where) {
    const bool none = object.is_object() && (!object.contains(key) || object[key].is_null());
    return none ? std::string() : string_of(object, key, where);
  }

  static std::string id_of(const Json& question, const std::string& where) {
    const bool number = question.is_object() && question.contains("id") && question["id"].is_number_integer();
    return number ? question["id"].dump() : string_of(question, "id", where);
  }

  /// Null where there is none and none is needed.
  const Json& place_of(const Json& answer, const std::string& where) const {
    static const Json none;
    constexpr const char* kKey = "answer_start";
    const bool absent = answer.is_object() && !answer.contains(kKey);
    if (absent && options_.offsets != OffsetCheck::kRefuse) return none;
    if (absent) fail("[squad] {}: the key \"{}\" is missing", where, kKey);
    return answer[kKey];
  }

  /// Numbers with a fraction of zero are integers that a table has gone through.
  int64_t start_of(const Json& value, const std::string& where) const {
    constexpr double kLargest = 1e15;
    if (value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX))
      return value.get<int64_t>();
    if (value.is_number_float()) {
      const auto number = value.get<double>();
      if (std::abs(number) <= kLargest && std::trunc(number) == number) return static_cast<int64_t>(number);
    }
    if (options_.offsets == OffsetCheck::kRefuse)
      fail("[squad] {}: \"answer_start\" must be an integer, found {}", where,
           value.dump(-1, ' ', true, Json::error_handler_t::replace));
    return -1;
  }

  void read_question(const Json& question, const SharedText& title, const SharedText& context,
                     const std::string& where) {
    SquadExample example;
    example.id = id_of(question, where);
    const std::string named = fmt::format("{}, question \"{}\"", name_, example.id);
    example.title = title;
    example.context = context;
    example.question = string_of(question, "question", named);
    const auto answers = question.find("answers");
    if (answers != question.end() && !answers->is_null()) {
      example.answers = answers_of(*answers, named);
    } else if (options_.require_answers) {
      fail("[squad] {}: the key \"answers\" is missing", named);
    }
    add(std::move(example));
  }

  void check_offset(const SquadExample& example, const SquadAnswer& answer) {
    if (example.context != indexed_) {
      indexed_ = example.context;
      index_.emplace(*indexed_);
    }
    const auto start = static_cast<size_t>(answer.start);
    const size_t length = count_code_points(answer.text);
    if (answer.start >= 0 && start <= index_->size() && index_->slice(start, start + length) == answer.text)
      return;
    if (answer.start < 0 || start > index_->size())
      fail("[squad] {}, question \"{}\": answer_start {} lies outside the context of {} characters", name_,
           example.id, answer.start, index_->size());
    fail("[squad] {}, question \"{}\": the answer is \"{}\", but the context has \"{}\" at {}", name_,
         example.id, answer.text, index_->slice(start, start + length), answer.start);
  }

  /// Leaves wrong answers out; false when that leaves none of them.
  bool keep_right_answers(SquadExample& example) {
    const size_t before = example.answers.size();
    std::erase_if(example.answers, [&](const SquadAnswer& answer) {
      try {
        check_offset(example, answer);
        return false;
      } catch (const InputError& error) {
        const std::string_view said = error.what();
        if (skipped_answers_++ == 0) first_skipped_ = said.substr(std::string_view("[squad] ").size());
        return true;
      }
    });
    const bool kept = before == 0 || !example.answers.empty();
    skipped_questions_ += !kept;
    return kept;
  }

  std::string name_;
  SquadReadOptions options_;
  std::vector<SquadExample> examples_;
  size_t skipped_answers_ = 0, skipped_questions_ = 0;
  std::string first_skipped_;                                ///< what is wrong with it
  std::unordered_map<std::string_view, SharedText> shared_;  ///< keys point into the values
  SharedText indexed_;
  std::optional<CodePointIndex> index_;
};

}  // namespace

std::vector<SquadExample> parse_squad_json(std::string_view text, const std::string& name,
                                           const SquadReadOptions& options) {
  const Json file = parse_json(text, name);
  Reader reader(name, options);
  const Json& data = require(file, "data", Type::array, name);
  size_t number = 0;
  for (const Json& item : data) {
    ++number;
    if (item.is_object() && (item.contains("paragraphs") || !item.contains("context"))) {
      reader.read_article(item, number);
    } else {
      reader.read_record(item, fmt::format("{}, record {}", name, number));
    }
  }
  return reader.finish();
}

std::vector<SquadExample> parse_squad_json_lines(std::string_view text, const std::string& name,
                                                 const SquadReadOptions& options) {
  Reader reader(name, options);
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    ++number;
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
      const std::string where = fmt::format("{}, line {}", name, number);
      reader.read_record(parse_json(line, where), where);
    }
    begin = end + 1;
  }
  return reader.finish();
}

std::vector<SquadExample> parse_squad_csv(std::string_view text, const std::string& name,
                                          const SquadReadOptions& options) {
  if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
    fail("[squad] {}: byte {} is not valid UTF-8", name, bad);
  const std::vector<CsvRecord> records = parse_csv(text, name);
  if (records.empty()) fail("[squad] {}: holds no questions", name);
  const auto column = [&](std::string_view wanted, bool needed) -> std::optional<size_t> {
    const auto& header = records[0].fields;
    const auto found = std::find(header.begin(), header.end(), wanted);
    if (found != header.end()) return static_cast<size_t>(found - header.begin());
    if (needed) fail("[squad] {}: the column \"{}\" is missing", name, wanted);
    return std::nullopt;
  };
  const size_t id = *column("id", true), context = *column("context", true),
               question = *column("question", true);
  const auto title = column("title", false), answers = column("answers", options.require_answers);
  Reader reader(name, options);
  for (size_t i = 1; i < records.size(); ++i) {
    const auto& fields = records[i].fields;
    SquadExample example;
    example.id = fields[id];
    example.title = reader.share(title ? fields[*title] : std::string());
    example.context = reader.share(fields[context]);
    example.question = fields[question];
    if (answers && (options.require_answers || !fields[*answers].empty())) {
      const std::string where = fmt::format("{}, question \"{}\"", name, example.id);
      example.answers = reader.answers_of(parse_json(fields[*answers], where + ", answers"), where);
    }
    reader.add(std::move(example));
  }
  return reader.finish();
}

std::vector<SquadExample> read_squad(const std::filesystem::path& path, const SquadReadOptions& options) {
  const std::string name = path.string();
  std::string_view kind = name;
  if (kind.ends_with(".gz")) kind.remove_suffix(3);
  if (kind.ends_with(".jsonl")) return parse_squad_json_lines(read_maybe_gzip(path), name, options);
  if (kind.ends_with(".json")) return parse_squad_json(read_maybe_gzip(path), name, options);
  if (kind.ends_with(".csv")) return parse_squad_csv(read_maybe_gzip(path), name, options);
  fail("[squad] {}: the file name must end in .json, .jsonl or .csv (or one of these and .gz)", name);
}

}  // namespace qdqbert::tasks
