// Flags the way the original's scripts take them: Hugging Face dataclass flags and
// plain argparse switches in one parser.
//
//   --max_seq_length 128    --max-seq-length=128    --max_seq 128 (unambiguous prefix)
//   --do_eval    --do_eval true|yes|t|y|1    --do_eval false|no|f|n|0
//   --no_pad_to_max_length    --no-pad-to-max-length
//   --quant-disable-keyword a b c
//   --args_file F           flags read from a file first (white space separated, # to the end of the line
//                           is a comment); the command line wins
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/verb.h"

namespace qdqbert::cli {

class ArgumentParser {
 public:
  /// `usage` is the line behind "usage: qdqbert VERB", `about` a paragraph.
  ArgumentParser(std::string verb, std::string usage, std::string about);

  /// Flags added from here on stand under this heading in --help.
  void group(std::string title);

  // Each binds a flag (without dashes, as documented: "max_seq_length", "quant-per-tensor")
  // to a variable that holds the default.
  void add(std::string name, std::string& value, std::string help);
  void add(std::string name, std::optional<std::string>& value, std::string help);
  void add(std::string name, int64_t& value, std::string help);
  void add(std::string name, std::optional<int64_t>& value, std::string help);
  void add(std::string name, double& value, std::string help);
  void add(std::string name, std::optional<double>& value, std::string help);
  /// --name [true|false], --no_name
  void add(std::string name, bool& value, std::string help);
  /// --name only
  void add_switch(std::string name, bool& value, std::string help);
  /// --name A B C: one or more values; repeated flags replace.
  void add(std::string name, std::vector<std::string>& value, std::string help);
  /// Values that are allowed, checked at parse time.
  void add_choice(std::string name, std::string& value, std::vector<std::string> allowed, std::string help);
  void add_positional(std::string name, std::string& value, std::string help, bool required = true);
  /// The flag exists and is refused with this sentence.
  void refuse(std::string name, std::string sentence);

  /// Parses; on --help prints and returns false. Throws UsageError for unknown or ambiguous flags, missing or
  /// malformed values. `required` names flags that must be given.
  bool parse(const Arguments& arguments);
  void require(std::string name);

  /// True when the flag was given (in the file or on the command line).
  bool given(std::string_view name) const;
  std::string help_text() const;

 private:
  enum class Kind { kValue, kBool, kSwitch, kList };
  struct Flag {
    std::string name, help, group, default_text, metavar;
    Kind kind = Kind::kValue;
    std::function<void(const std::vector<std::string>&)> set;
    bool required = false, given = false, refused = false;
  };
  struct Positional {
    std::string name, help;
    std::string* value;
    bool required;
  };
  Flag& add_flag(std::string name, std::string help, Kind kind);
  Flag& find(const std::string& spelled, bool& negated);
  void consume(const Arguments& arguments, bool from_file);
  void read_args_file(const std::string& path);

  std::string verb_, usage_, about_, group_ = "flags";
  std::vector<Flag> flags_;
  std::vector<Positional> positionals_;
  size_t positionals_seen_ = 0;
};

}  // namespace qdqbert::cli
