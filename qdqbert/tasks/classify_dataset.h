// Texts with a class, several classes or a number each.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "qdqbert/tasks/label_map.h"
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
  bool labelled = false;  ///< false: no label column
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
  bool labels_required = true;
  /// Not given: lists are several labels, numbers that are not all integers are kRegression, else one label.
  std::optional<ClassifyKind> kind{};
};

/// Throws InputError naming file and line: a column that is absent, a label that is neither a text
/// nor a number, a text where a number is needed, a number that is not finite, several labels
/// where one is needed. Warns of empty texts.
ClassifyData parse_classify(const RecordFile& file, const ClassifyColumns& columns = {});
ClassifyData read_classify(const std::filesystem::path& path, const ClassifyColumns& columns = {});

}  // namespace qdqbert::tasks
