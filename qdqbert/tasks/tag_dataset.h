// Sentences of words with a tag each.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/tasks/label_map.h"
#include "qdqbert/tasks/no_label.h"
#include "qdqbert/tasks/records.h"

namespace qdqbert::tasks {

struct TagExample {
  size_t line = 1;  ///< of the first word, or of the record
  std::vector<std::string> words;
  std::vector<std::string> tags;  ///< one a word, empty for a word without one; none where there are none
};

struct TagData {
  std::string name;       ///< of the file
  bool labelled = false;  ///< examples have tags
  size_t untagged =
      0;  ///< sentences without tags: those left out, or, where none are required, all that lack them
  std::vector<TagExample> examples;

  std::string where(const TagExample& example) const { return fmt::format("{}:{}", name, example.line); }
  /// Tags that occur, as sorted_labels() gives them.
  std::vector<std::string> tags() const;
  /// Replaces tags that are numbers by the names that `labels` has at these places. Throws InputError naming
  /// file and line for a number that has none, where `labels` are not numbers themselves.
  void name_numbers(const LabelMap& labels);
  /// Removes sentences in which no word has a tag, which a loss has no mean over; returns how many there were.
  size_t drop_untagged();
};

struct TagColumns {
  /// Fields of JSON records. Empty: "tokens" or "words" where there, else the first column; "ner_tags" or
  /// "tags" where there, else the second column.
  std::string text{}, label{};
  /// Sentences without tags are left out, with a warning. Otherwise all are kept, and if one has no tags, or not one
  /// for every word, the data have none.
  bool labels_required = true;
};

/// CoNLL columns: a line holds a word and, last, its tag, separated by tabs or by spaces (by tabs wherever
/// the line has one); an empty line ends a sentence; lines that begin with -DOCSTART- are left out. Throws
/// InputError naming file and line for another number of columns than the first line has, an empty word or
/// tag, and, unless !labels_required, a single column.
TagData parse_conll(std::string_view text, const std::string& name, const TagColumns& columns = {});

/// Records with a list of words and a list of tags (texts or integers) of equal length. In both, tags of
/// usual_no_tag_marks(), and of records null and empty ones, are no tags.
TagData parse_tag_records(const RecordFile& file, const TagColumns& columns = {});

/// .jsonl and .json are records; .conll, .conll2003, .bio, .iob, .iob2, .txt,
/// .tsv are columns; each also with .gz behind.
TagData read_tags(const std::filesystem::path& path, const TagColumns& columns = {});

}  // namespace qdqbert::tasks
