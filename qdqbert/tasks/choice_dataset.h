// Multiple choice: a text and several continuations or answers, one of which is right.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/tasks/records.h"

namespace qdqbert::tasks {

struct ChoiceExample {
  std::string id;
  size_t line = 1;
  std::string prompt;                ///< first text of every pair
  std::vector<std::string> choices;  ///< second texts
  std::optional<int64_t> answer;     ///< index of the right choice
};

struct ChoiceData {
  std::string name;       ///< of the file
  bool labelled = false;  ///< every example has its answer
  std::vector<ChoiceExample> examples;

  size_t most_choices() const;
  /// Whether all examples have as many choices.
  bool uniform() const;
  size_t choice_count() const;
};

/// Records, by the columns that are there:
///  - SWAG: sent1, sent2, ending0, ending1, ...; label (number). A choice is sent2, a space, and an ending.
///  - CommonsenseQA as published: question {stem, choices [{label, text}]}, answerKey (the label).
///  - plain: prompt (or question, context, sentence) and choices (list of at least one text); answer
///    (or label): the number of the right one, or its text. A context beside a question stands before it,
///    with a space between.
/// Throws InputError naming file and line: no choices, an answer that is no choice,
/// and, with `labels_required`, none.
ChoiceData parse_choices(const RecordFile& file, bool labels_required = true);

/// CODAH: tab-separated without header: category, prompt, choices, answer (number).
ChoiceData parse_codah(std::string_view text, const std::string& name);

/// .csv, .json, .jsonl are records; a .tsv whose first line has a header of one of the forms is, too, and
/// CODAH's otherwise. Each also with .gz behind.
ChoiceData read_choices(const std::filesystem::path& path, bool labels_required = true);

}  // namespace qdqbert::tasks
