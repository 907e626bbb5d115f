#include "qdqbert/tasks/no_label.h"

#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>

namespace qdqbert::tasks {

namespace {

bool equals_number(const std::string& mark, double number) {
  double value = 0;
  const auto [end, error] = std::from_chars(mark.data(), mark.data() + mark.size(), value);
  return error == std::errc() && end == mark.data() + mark.size() && value == number;
}

}  // namespace

const std::vector<std::string>& usual_no_label_marks() {
  static const std::vector<std::string> marks = {"-1", "-100", "?", "-"};
  return marks;
}

const std::vector<std::string>& usual_no_tag_marks() {
  static const std::vector<std::string> marks = {"-1", "-100"};
  return marks;
}

bool is_no_label(const Json& value, const std::vector<std::string>& marks) {
  if (value.is_null()) return true;
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    return text.empty() || std::find(marks.begin(), marks.end(), text) != marks.end();
  }
  return value.is_number() && std::any_of(marks.begin(), marks.end(), [&](const std::string& mark) {
           return equals_number(mark, value.get<double>());
         });
}

std::string list_of_marks(const std::vector<Json>& found) {
  std::set<std::string> marks;
  for (const Json& value : found)
    marks.insert(value.is_string() ? fmt::format("\"{}\"", value.get<std::string>()) : value.dump());
  std::string list;
  for (const std::string& mark : marks) list += (list.empty() ? "" : ", ") + mark;
  return list;
}

}  // namespace qdqbert::tasks
