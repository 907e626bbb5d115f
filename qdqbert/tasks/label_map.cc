#include "qdqbert/tasks/label_map.h"

#include <algorithm>
#include <charconv>

#include "qdqbert/base/error.h"

namespace qdqbert::tasks {

namespace {

std::string folded(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::optional<int64_t> as_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool all_numbers_below(const std::vector<std::string>& labels, size_t count) {
  return std::all_of(labels.begin(), labels.end(), [&](const std::string& label) {
    const auto value = as_integer(label);
    return value && *value >= 0 && static_cast<size_t>(*value) < count;
  });
}

}  // namespace

LabelMap::LabelMap(std::vector<std::string> names) {
  for (std::string& name : names) {
    if (ids_.contains(name)) fail("[labels] the label \"{}\" stands twice", name);
    add(std::move(name));
  }
}

LabelMap LabelMap::of_model(std::vector<std::string> names) {
  LabelMap labels;
  for (std::string& name : names) labels.add(std::move(name));
  return labels;
}

void LabelMap::add(std::string name) {
  const auto id = static_cast<int64_t>(names_.size());
  const bool is_new = ids_.insert_or_assign(name, id).second;
  const auto [other, added] = folded_.emplace(folded(name), id);
  if (!added) other->second = is_new || other->second < 0 ? -1 : id;
  names_.push_back(std::move(name));
}

std::optional<int64_t> LabelMap::id(std::string_view label) const {
  if (const auto found = ids_.find(std::string(label)); found != ids_.end()) return found->second;
  if (const auto found = folded_.find(folded(label)); found != folded_.end() && found->second >= 0)
    return found->second;
  const auto number = as_integer(label);
  const bool names_are_numbers = std::any_of(names_.begin(), names_.end(),
                                             [](const auto& name) { return as_integer(name).has_value(); });
  if (number && !names_are_numbers && *number >= 0 && static_cast<size_t>(*number) < names_.size())
    return number;
  return std::nullopt;
}

int64_t LabelMap::id(std::string_view label, std::string_view where) const {
  const auto found = id(label);
  if (!found)
    fail("[labels] {}: the label \"{}\" is unknown; the model has {}", where, label, list_of_labels(names_));
  return *found;
}

std::vector<std::string> sorted_labels(std::vector<std::string> labels) {
  std::sort(labels.begin(), labels.end());
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  if (std::all_of(labels.begin(), labels.end(), [](const auto& label) { return as_integer(label); }))
    std::stable_sort(labels.begin(), labels.end(),
                     [](const auto& a, const auto& b) { return *as_integer(a) < *as_integer(b); });
  return labels;
}

std::string list_of_labels(const std::vector<std::string>& labels) {
  constexpr size_t kShown = 8;
  std::string list = fmt::format("{} labels: ", labels.size());
  for (size_t i = 0; i < std::min(kShown, labels.size()); ++i)
    list += fmt::format("{}\"{}\"", i == 0 ? "" : ", ", labels[i].substr(0, 40));
  return list + (labels.size() > kShown ? ", ..." : "");
}

bool are_generic(const std::vector<std::string>& names) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] != fmt::format("LABEL_{}", i)) return false;
  return true;
}

bool are_unnamed(const std::vector<std::string>& names) {
  if (are_generic(names)) return true;
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] != fmt::format("{}", i)) return false;
  return true;
}

bool is_number(std::string_view label) {
  return !label.empty() &&
         std::all_of(label.begin(), label.end(), [](char c) { return c >= '0' && c <= '9'; });
}

LabelChoice choose_labels(const std::vector<std::string>& found, const std::vector<std::string>& checkpoint,
                          bool training, bool replace, std::string_view data_name) {
  const auto of_data = [&]() -> LabelMap {
    if (found.empty()) fail("[labels] {} has no labels", data_name);
    if (found.size() < 2)
      fail("[labels] every example of {} has the label \"{}\"; a classifier needs at least two labels",
           data_name, found[0]);
    return LabelMap(found);
  };
  if (are_generic(checkpoint)) {
    if (training) return {of_data(), found.size() != checkpoint.size()};
    if (found == sorted_labels(checkpoint) || all_numbers_below(found, checkpoint.size())) {
      if (checkpoint.size() < 2)
        fail("[labels] the checkpoint has {} label: it predicts a number, {} has the {}", checkpoint.size(),
             data_name, list_of_labels(found));
      return {LabelMap::of_model(checkpoint), false};
    }
    if (found.size() == checkpoint.size()) return {of_data(), false};
    fail("[labels] {} has the {}; the checkpoint has {} without names, so which is which cannot be told",
         data_name, list_of_labels(found), checkpoint.size());
  }
  LabelMap labels = LabelMap::of_model(checkpoint);
  for (const std::string& label : found) {
    if (labels.id(label)) continue;
    if (replace) return {of_data(), true};
    fail(
        "[labels] {} has the label \"{}\", which is not among the checkpoint's {}; "
        "give --ignore_mismatched_sizes to train a new head",
        data_name, label, list_of_labels(checkpoint));
  }
  return {std::move(labels), false};
}

}  // namespace qdqbert::tasks
