// Questions about contexts with their answers, as SQuAD v1.1 and v2.0 files hold them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace qdqbert::tasks {

/// Text that many examples have in common: one paragraph carries several questions.
using SharedText = std::shared_ptr<const std::string>;

struct SquadAnswer {
  std::string text;
  int64_t start = 0;  ///< code points before the answer in the context; -1: the file does not say
};

/// One question. All strings are well-formed UTF-8; `title` and `context` are never null.
struct SquadExample {
  std::string id;
  SharedText title, context;
  std::string question;
  std::vector<SquadAnswer> answers;  ///< empty: unanswerable
};

/// What becomes of an answer that does not stand in the context where it says, or says no place.
enum class OffsetCheck {
  kIgnore,  ///< it is kept: only training looks at places
  kSkip,    ///< it is left out, and a question all of whose answers are; a warning says how many
  kRefuse,
};

struct SquadReadOptions {
  /// Questions to be answered may come without "answers"; they then have none.
  bool require_answers = true;
  OffsetCheck offsets = OffsetCheck::kRefuse;
};

/// Reads .json, .jsonl or .csv, each also with .gz behind. Examples keep the order of the file; equal
/// contexts share one string. Ids that are integers become text. Throws InputError naming file and question for a
/// missing key, a wrong type, an answer whose offset does not match the context (see OffsetCheck), a repeated id, a file without questions, ill-formed JSON,
/// CSV or UTF-8; SystemError when unreadable.
std::vector<SquadExample> read_squad(const std::filesystem::path& path, const SquadReadOptions& options = {});

/// {"data": [...]}: either SQuAD articles (title, paragraphs > context, qas > id, question, answers) or flat
/// records (id, title, context, question, answers). Answers are a list of {text, answer_start} or {text:
/// [...], answer_start: [...]}; a missing title, or null, is "". Other keys are ignored. `name` stands in messages.
std::vector<SquadExample> parse_squad_json(std::string_view text, const std::string& name,
                                           const SquadReadOptions& options = {});

/// One flat record a line; empty lines are skipped.
std::vector<SquadExample> parse_squad_json_lines(std::string_view text, const std::string& name,
                                                 const SquadReadOptions& options = {});

/// A header line naming the columns of a flat record in any order; the answers column holds JSON.
std::vector<SquadExample> parse_squad_csv(std::string_view text, const std::string& name,
                                          const SquadReadOptions& options = {});

}  // namespace qdqbert::tasks
