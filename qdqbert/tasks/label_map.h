// Names of classes and their numbers, and how those of a data set meet those of a checkpoint.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace qdqbert::tasks {

class LabelMap {
 public:
  LabelMap() = default;
  /// Numbers are positions. Throws InputError for a repeated name.
  explicit LabelMap(std::vector<std::string> names);
  /// Those of a model, where a name may stand several times: it means the last of its numbers.
  static LabelMap of_model(std::vector<std::string> names);

  size_t size() const { return names_.size(); }
  const std::string& name(int64_t id) const { return names_.at(static_cast<size_t>(id)); }
  const std::vector<std::string>& names() const { return names_; }
  /// nullopt when there is no such label. A spelling that differs in ASCII case, or the number itself, will
  /// do where no name is meant by it.
  std::optional<int64_t> id(std::string_view label) const;
  /// The number that the name of `id` means.
  int64_t canonical(int64_t id) const { return ids_.at(name(id)); }
  /// Throws InputError that begins with `where` and lists the labels.
  int64_t id(std::string_view label, std::string_view where) const;

 private:
  void add(std::string name);

  std::vector<std::string> names_;
  std::unordered_map<std::string, int64_t> ids_, folded_;
};

/// Each once, in the order of the public example scripts: by number when
/// all are integers, else by code point.
std::vector<std::string> sorted_labels(std::vector<std::string> labels);

/// Begins "a, b, c, ..." of the first few.
std::string list_of_labels(const std::vector<std::string>& labels);

struct LabelChoice {
  LabelMap labels;
  /// The checkpoint's labels were put aside: its head, if any, is for other ones.
  bool replaced = false;
};

/// The labels of a run on data with the labels `found` (as sorted_labels() gives them), from a checkpoint
/// whose config names `checkpoint`.
///
/// Names that were never set (LABEL_0, LABEL_1, ...): `found` decides when training. Otherwise integers below
/// their count are numbers, and other labels are numbered in order, which needs as many of them.
/// Names that were: all of `found` must be among them. Else InputError with both lists, or, with `replace`
/// (--ignore_mismatched_sizes), `found` decides. Also throws InputError for fewer than two labels.
LabelChoice choose_labels(const std::vector<std::string>& found, const std::vector<std::string>& checkpoint,
                          bool training, bool replace, std::string_view data_name);

/// Whether the names are LABEL_0, LABEL_1, ...
bool are_generic(const std::vector<std::string>& names);
/// Whether they are that or 0, 1, 2, ..., so that other names may stand at their places.
bool are_unnamed(const std::vector<std::string>& names);
/// Whether a label is written with digits alone.
bool is_number(std::string_view label);

}  // namespace qdqbert::tasks
