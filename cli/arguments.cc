#include "cli/arguments.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

namespace qdqbert::cli {

namespace {

/// Flags are compared with '-' and '_' alike.
std::string canonical(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

std::optional<bool> parse_bool(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* yes : {"true", "yes", "t", "y", "1"})
    if (text == yes) return true;
  for (const char* no : {"false", "no", "f", "n", "0"})
    if (text == no) return false;
  return std::nullopt;
}

int64_t parse_integer(const std::string& flag, const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail<UsageError>("--{} needs an integer, got \"{}\"", flag, text);
  return value;
}

double parse_number(const std::string& flag, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(value))
    fail<UsageError>("--{} needs a number, got \"{}\"", flag, text);
  return value;
}

bool is_flag(const std::string& argument) {
  return argument.size() > 2 && argument.starts_with("--");
}

/// Edit distance, for "did you mean".
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

}  // namespace

ArgumentParser::ArgumentParser(std::string verb, std::string usage, std::string about)
    : verb_(std::move(verb)), usage_(std::move(usage)), about_(std::move(about)) {}

void ArgumentParser::group(std::string title) {
  group_ = std::move(title);
}

ArgumentParser::Flag& ArgumentParser::add_flag(std::string name, std::string help, Kind kind) {
  Flag flag;
  flag.name = std::move(name);
  flag.help = std::move(help);
  flag.group = group_;
  flag.kind = kind;
  return flags_.emplace_back(std::move(flag));
}

void ArgumentParser::add(std::string name, std::string& value, std::string help) {
  Flag& flag = add_flag(std::move(name), std::move(help), Kind::kValue);
  flag.metavar = "TEXT";
  flag.default_text = value;
  flag.set = [&value](const auto& v) { value = v[0]; };
}

void ArgumentParser::add(std::string name, std::optional<std::string>& value, std::string help) {
  Flag& flag = add_flag(std::move(name), std::move(help), Kind::kValue);
  flag.metavar = "TEXT";
  flag.set = [&value](const auto& v) { value = v[0]; };
}

void ArgumentParser::add(std::string name, int64_t& value, std::string help) {
  Flag& flag = add_flag(name, std::move(help), Kind::kValue);
  flag.metavar = "N";
  flag.default_text = std::to_string(value);
  flag.set = [&value, name](const auto& v) { value = parse_integer(name, v[0]); };
}

void ArgumentParser::add(std::string name, std::optional<int64_t>& value, std::string help) {
  Flag& flag = add_flag(name, std::move(help), Kind::kValue);
  flag.metavar = "N";
  flag.set = [&value, name](const auto& v) { value = parse_integer(name, v[0]); };
}

void ArgumentParser::add(std::string name, double& value, std::string help) {
  Flag& flag = add_flag(name, std::move(help), Kind::kValue);
  flag.metavar = "X";
  flag.default_text = fmt::format("{}", value);
  flag.set = [&value, name](const auto& v) { value = parse_number(name, v[0]); };
}

void ArgumentParser::add(std::string name, std::optional<double>& value, std::string help) {
  Flag& flag = add_flag(name, std::move(help), Kind::kValue);
  flag.metavar = "X";
  flag.set = [&value, name](const auto& v) { value = parse_number(name, v[0]); };
}

void ArgumentParser::add(std::string name, bool& value, std::string help) {
  Flag& flag = add_flag(name, std::move(help), Kind::kBool);
  flag.default_text = value ? "true" : "";
  flag.set = [&value, name](const auto& v) {
    const std::optional<bool> parsed = parse_bool(v[0]);
    if (!parsed)
      fail<UsageError>("--{} takes true or false (yes, no, t, f, y, n, 1, 0), got \"{}\"", name, v[0]);
    value = *parsed;
  };
}

void ArgumentParser::add_switch(std::string name, bool& value, std::string help) {
  Flag& flag = add_flag(std::move(name), std::move(help), Kind::kSwitch);
  flag.set = [&value](const auto&) { value = true; };
}

void ArgumentParser::add(std::string name, std::vector<std::string>& value, std::string help) {
  Flag& flag = add_flag(std::move(name), std::move(help), Kind::kList);
  flag.metavar = "A [B ...]";
  flag.set = [&value](const auto& v) { value = v; };
}

void ArgumentParser::add_choice(std::string name, std::string& value, std::vector<std::string> allowed,
                                std::string help) {
  Flag& flag = add_flag(name, std::move(help), Kind::kValue);
  flag.metavar = fmt::format("{{{}}}", fmt::join(allowed, ","));
  flag.default_text = value;
  flag.set = [&value, name, allowed](const auto& v) {
    if (std::find(allowed.begin(), allowed.end(), v[0]) == allowed.end())
      fail<UsageError>("--{} must be one of {}, got \"{}\"", name, fmt::join(allowed, ", "), v[0]);
    value = v[0];
  };
}

void ArgumentParser::add_positional(std::string name, std::string& value, std::string help, bool required) {
  positionals_.push_back({std::move(name), std::move(help), &value, required});
}

void ArgumentParser::refuse(std::string name, std::string sentence) {
  Flag& flag = add_flag(name, std::move(sentence), Kind::kValue);
  flag.refused = true;
}

void ArgumentParser::require(std::string name) {
  for (Flag& flag : flags_)
    if (flag.name == name) flag.required = true;
}

bool ArgumentParser::given(std::string_view name) const {
  return std::any_of(flags_.begin(), flags_.end(), [&](const Flag& f) { return f.given && f.name == name; });
}

ArgumentParser::Flag& ArgumentParser::find(const std::string& spelled, bool& negated) {
  const std::string name = canonical(spelled);
  negated = false;
  for (Flag& flag : flags_)
    if (canonical(flag.name) == name) return flag;
  const auto is_negation = [](const Flag& flag) { return flag.kind == Kind::kBool; };
  for (Flag& flag : flags_)
    if (is_negation(flag) && "no_" + canonical(flag.name) == name) {
      negated = true;
      return flag;
    }
  std::vector<std::pair<Flag*, bool>> candidates;
  for (Flag& flag : flags_) {
    if (canonical(flag.name).starts_with(name)) candidates.emplace_back(&flag, false);
    if (is_negation(flag) && ("no_" + canonical(flag.name)).starts_with(name))
      candidates.emplace_back(&flag, true);
  }
  if (candidates.size() == 1) {
    negated = candidates[0].second;
    return *candidates[0].first;
  }
  if (candidates.size() > 1) {
    std::string list;
    for (const auto& [flag, no] : candidates)
      list += fmt::format("{}--{}{}", list.empty() ? "" : ", ", no ? "no_" : "", flag->name);
    fail<UsageError>("[{}] --{} could be {}", verb_, spelled, list);
  }
  const Flag* nearest = nullptr;
  size_t best = 4;
  for (const Flag& flag : flags_) {
    // Half of a flag's words is closer than any slip of the fingers: --pair is --text_pair.
    const std::string whole = canonical(flag.name);
    const size_t d = whole.ends_with("_" + name) ? 1 : distance(whole, name);
    if (d < best) {
      best = d;
      nearest = &flag;
    }
  }
  fail<UsageError>("[{}] unknown flag --{}{}; `qdqbert {} --help` lists all", verb_, spelled,
                   nearest ? fmt::format(" (did you mean --{}?)", nearest->name) : "", verb_);
}

void ArgumentParser::read_args_file(const std::string& path) {
  std::istringstream text(read_file(path, size_t{1} << 20));
  Arguments arguments;
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    for (std::string word; words >> word && word[0] != '#';) arguments.push_back(word);
  }
  consume(arguments, true);
}

void ArgumentParser::consume(const Arguments& arguments, bool from_file) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!is_flag(argument)) {
      if (positionals_seen_ >= positionals_.size())
        fail<UsageError>("[{}] \"{}\" is not a flag and nothing more is expected here; usage: qdqbert {} {}",
                         verb_, argument, verb_, usage_);
      *positionals_[positionals_seen_++].value = argument;
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string spelled = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    if (canonical(spelled) == "args_file") {
      if (from_file) fail<UsageError>("[{}] an args file cannot name another one", verb_);
      if (equals == std::string::npos) ++i;
      continue;  // read before the command line
    }
    bool negated = false;
    Flag& flag = find(spelled, negated);
    if (flag.refused) fail<UsageError>("[{}] --{}: {}", verb_, flag.name, flag.help);
    flag.given = true;
    std::vector<std::string> values;
    if (equals != std::string::npos) {
      values.push_back(argument.substr(equals + 1));
      if (flag.kind == Kind::kSwitch || negated) fail<UsageError>("[{}] --{} takes no value", verb_, spelled);
    } else if (flag.kind == Kind::kValue) {
      if (i + 1 >= arguments.size() || is_flag(arguments[i + 1]))
        fail<UsageError>("[{}] --{} needs a value ({})", verb_, flag.name, flag.metavar);
      values.push_back(arguments[++i]);
    } else if (flag.kind == Kind::kList) {
      while (i + 1 < arguments.size() && !is_flag(arguments[i + 1])) values.push_back(arguments[++i]);
      if (values.empty()) fail<UsageError>("[{}] --{} needs at least one value", verb_, flag.name);
    } else if (flag.kind == Kind::kBool) {
      if (!negated && i + 1 < arguments.size() && parse_bool(arguments[i + 1])) {
        values.push_back(arguments[++i]);
      } else {
        values.push_back(negated ? "false" : "true");
      }
    }
    flag.set(values);
  }
}

bool ArgumentParser::parse(const Arguments& arguments) {
  for (const std::string& argument : arguments)
    if (argument == "--help" || argument == "-h") {
      std::fputs(help_text().c_str(), stdout);
      return false;
    }
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string name = canonical(arguments[i]);
    if (name.starts_with("__args_file=")) read_args_file(arguments[i].substr(12));
    if (name == "__args_file") {
      if (i + 1 >= arguments.size()) fail<UsageError>("[{}] --args_file needs a value (FILE)", verb_);
      read_args_file(arguments[i + 1]);
    }
  }
  consume(arguments, false);
  for (size_t i = positionals_seen_; i < positionals_.size(); ++i)
    if (positionals_[i].required)
      fail<UsageError>("[{}] {} is missing: {}", verb_, positionals_[i].name, positionals_[i].help);
  for (const Flag& flag : flags_)
    if (flag.required && !flag.given)
      fail<UsageError>("[{}] --{} is required: {}", verb_, flag.name, flag.help);
  return true;
}

std::string ArgumentParser::help_text() const {
  constexpr size_t kColumn = 34, kWidth = 100;
  std::string text = fmt::format("usage: qdqbert {} {}\n\n{}\n", verb_, usage_, about_);
  const auto entry = [&](const std::string& left, const std::string& help) {
    std::string line = "  " + left;
    if (line.size() + 2 > kColumn) {
      text += line + "\n";
      line.clear();
    }
    line.resize(kColumn, ' ');
    std::istringstream words(help);
    bool first = true;
    for (std::string word; words >> word; first = false) {
      if (!first && line.size() + 1 + word.size() > kWidth) {
        text += line + "\n";
        line.assign(kColumn, ' ');
        first = true;
      }
      line += (first ? "" : " ") + word;
    }
    text += line + "\n";
  };
  for (const Positional& positional : positionals_) {
    if (&positional == &positionals_.front()) text += "\n";
    entry(positional.name, positional.help);
  }
  std::vector<std::string> groups;
  for (const Flag& flag : flags_)
    if (std::find(groups.begin(), groups.end(), flag.group) == groups.end()) groups.push_back(flag.group);
  for (const std::string& group : groups) {
    text += fmt::format("\n{}:\n", group);
    for (const Flag& flag : flags_) {
      if (flag.group != group || flag.refused) continue;
      std::string help = flag.help;
      if (flag.required) help += " (required)";
      if (!flag.default_text.empty()) help += fmt::format(" (default {})", flag.default_text);
      entry(fmt::format("--{}{}{}", flag.name, flag.metavar.empty() ? "" : " ", flag.metavar), help);
    }
  }
  text += "\ncommon:\n";
  entry("--args_file FILE", "read flags from FILE first; the command line wins");
  entry("--help", "this text");
  return text;
}

}  // namespace qdqbert::cli
