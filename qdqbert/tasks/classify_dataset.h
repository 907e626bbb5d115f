// Texts with a class, several classes or a number each.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "qdqbert/tasks/label_map.h"
#include "qdqbert/tasks/no_label.h"
#include "qdqbert/tasks/records.h"

namespace qdqbert::tasks {

enum class ClassifyKind { kSingleLabel, kMultiLabel, kRegression };

struct ClassifyExample {
  size_t line = 1;
  std::string first, second;        ///< `second` is empty where there is one text
  std::vector<std::string> labels;  ///< one, or any number of kMultiLabel; none without labels or of a number
  double value = 0;                 ///< kRegression
};

struct ClassifyData {
  std::string name;  ///< of the file
  ClassifyKind kind = ClassifyKind::kSingleLabel;
  bool pairs = false;     ///< two texts each
  bool labelled = false;  ///< every example has a label
  size_t unlabelled =
      0;  ///< rows without a label: those left out, or, where none is required, all that lack one
  std::vector<ClassifyExample> examples;

  std::string where(const ClassifyExample& example) const { return fmt::format("{}:{}", name, example.line); }
  std::vector<std::string> first_texts() const;
  std::vector<std::string> second_texts() const;  ///< empty unless pairs
  /// Labels that occur, as sorted_labels() gives them.
  std::vector<std::string> labels() const;
};

struct ClassifyColumns {
  /// One column, two (a pair of texts), or, with `delimiter`, any number that are joined by it. Empty:
  /// sentence1 and sentence2 where both are there, else "text" or "sentence", else the first one or two
  /// columns that hold neither labels nor ids (label, labels, id, idx, guid).
  std::vector<std::string> text{};
  std::optional<std::string> delimiter{};
  std::string label = "label";
  /// Separates the labels of one field in CSV and TSV files; JSON files have lists.
  std::optional<std::string> label_separator{};
  /// Rows without a label are left out, with a warning. Otherwise all rows are kept, and if one has no label, or
  /// one of another kind, the data have none.
  bool labels_required = true;
  /// What means that there is no label, see is_no_label(). Where numbers are predicted, numbers do not.
  std::vector<std::string> no_label = usual_no_label_marks();
  /// Not given: lists are several labels, numbers that are not all integers are kRegression, else one label.
  std::optional<ClassifyKind> kind{};
};

/// Throws InputError naming file and line: a column that is absent, no row with a label, a label that is neither a text
/// nor a number, a text where a number is needed, a number that is not finite, several labels
/// where one is needed. Warns of empty texts.
ClassifyData parse_classify(const RecordFile& file, const ClassifyColumns& columns = {});
ClassifyData read_classify(const std::filesystem::path& path, const ClassifyColumns& columns = {});

}  // namespace qdqbert::tasks
