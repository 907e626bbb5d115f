// The YAML form of a descriptor: exactly what the toolkit's YAML library writes for such a dictionary, and a
// reader for that subset (a block mapping of scalars and nested lists).
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>

#include "qdqbert/base/error.h"
#include "qdqbert/quant/descriptor.h"

namespace qdqbert::quant {

namespace {

bool is_word(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

bool is_null(std::string_view text) {
  return text.empty() || is_word(text, {"~", "null", "Null", "NULL"});
}
bool is_true(std::string_view text) {
  return is_word(text, {"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"});
}
bool is_false(std::string_view text) {
  return is_word(text, {"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"});
}
bool is_number_like(std::string_view text) {
  return !text.empty() &&
         (std::isdigit(static_cast<unsigned char>(text[0])) || is_word(text.substr(0, 1), {"+", "-", "."}));
}

std::string quoted(const std::string& text) {
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (!printable) return dump_json(Json(text), {.indent = -1});
  const auto plain_char = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) ||
           is_word(std::string_view(&c, 1), {"_", ".", "/", "-", "(", ")"});
  };
  const bool plain = !text.empty() && (std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '_') &&
                     std::all_of(text.begin(), text.end(), plain_char) && !is_null(text) && !is_true(text) &&
                     !is_false(text);
  if (plain) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "''" : std::string(1, c);
  return out + "'";
}

std::string scalar(const Json& value) {
  if (value.is_string()) return quoted(value.get<std::string>());
  if (!value.is_number_float()) return value.dump();
  std::string text = dump_json(value, {.indent = -1});
  if (text == "NaN") return ".nan";
  if (text == "Infinity") return ".inf";
  if (text == "-Infinity") return "-.inf";
  // YAML 1.1 wants a point in every float, so 1e-05 is written 1.0e-05.
  if (const size_t e = text.find('e'); e != std::string::npos && text.find('.') == std::string::npos)
    text.insert(e, ".0");
  return text;
}

std::string indented(std::string text) {
  for (size_t at = text.find('\n'); at != std::string::npos && at + 1 < text.size();
       at = text.find('\n', at + 1))
    text.insert(at + 1, "  ");
  return text;
}

std::string block(const Json& list) {
  std::string out;
  for (const Json& item : list)
    out += "- " + (item.is_array() && !item.empty() ? indented(block(item))
                   : item.is_array()                ? "[]\n"
                                                    : scalar(item) + "\n");
  return out;
}

/// Reads the subset; every failure names the line.
class Reader {
 public:
  explicit Reader(std::string_view text) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      std::string line(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
      while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.pop_back();
      const size_t first = line.find_first_not_of(' ');
      const bool content = first != std::string::npos && line[first] != '#' && line != "---";
      lines_.push_back(content ? line : "");
    }
  }

  Json mapping() {
    Json object = Json::object();
    while (skip_blank()) {
      const std::string& line = lines_[at_];
      const size_t colon = line.find(':');
      if (line[0] == ' ' || line[0] == '-' || colon == std::string::npos) refuse("a key and a colon");
      const std::string key = line.substr(0, colon);
      if (object.contains(key)) fail("[quant_desc] YAML line {}: the key {} appears twice", at_ + 1, key);
      const size_t value = line.find_first_not_of(' ', colon + 1);
      if (value != std::string::npos) {
        object[key] = parse_scalar(line.substr(value));
        ++at_;
      } else {
        ++at_;
        const bool list = skip_blank() && lines_[at_].find_first_not_of(' ') == lines_[at_].find('-') &&
                          lines_[at_].find("- ") != std::string::npos;
        object[key] = list ? sequence(lines_[at_].find('-'), 0) : Json(nullptr);
      }
    }
    return object;
  }

 private:
  static constexpr int kDeepest = 32;

  bool skip_blank() {
    while (at_ < lines_.size() && lines_[at_].empty()) ++at_;
    return at_ < lines_.size();
  }

  [[noreturn]] void refuse(std::string_view wanted) const {
    fail("[quant_desc] YAML line {}: expected {}, got \"{}\"", at_ + 1, wanted, lines_[at_]);
  }

  Json sequence(size_t column, int depth) {
    if (depth > kDeepest)
      fail("[quant_desc] YAML line {}: lists are nested deeper than {}", at_ + 1, kDeepest);
    Json list = Json::array();
    while (skip_blank() && lines_[at_].size() > column && lines_[at_][column] == '-' &&
           lines_[at_].find_first_not_of(' ') == column) {
      std::string& line = lines_[at_];
      const size_t value = line.find_first_not_of(' ', column + 1);
      if (value == std::string::npos || line[column + 1] != ' ') refuse("a list item");
      if (line[value] == '-' && value + 1 < line.size() && line[value + 1] == ' ') {
        line[column] = ' ';
        list.push_back(sequence(value, depth + 1));
      } else {
        list.push_back(parse_scalar(line.substr(value)));
        ++at_;
      }
    }
    return list;
  }

  Json parse_scalar(const std::string& text) const {
    if (text[0] == '"') return parse_json(text, "descriptor YAML");
    if (text == "[]") return Json::array();
    if (text[0] == '\'') {
      std::string out;
      for (size_t i = 1; i < text.size(); ++i) {
        if (text[i] != '\'') {
          out += text[i];
        } else if (i + 1 < text.size() && text[i + 1] == '\'') {
          out += text[i++];
        } else if (i + 1 == text.size()) {
          return out;
        } else {
          break;
        }
      }
      refuse("a closing quote");
    }
    if (is_null(text)) return nullptr;
    if (is_true(text)) return true;
    if (is_false(text)) return false;
    if (text == ".nan") return std::numeric_limits<double>::quiet_NaN();
    if (text == ".inf") return std::numeric_limits<double>::infinity();
    if (text == "-.inf") return -std::numeric_limits<double>::infinity();
    if (text[0] == '!' || text[0] == '&' || text[0] == '*' || text[0] == '{' || text[0] == '[' ||
        text[0] == '|')
      refuse("a plain value");
    if (is_number_like(text)) {
      char* end = nullptr;
      if (text.find_first_of(".eE") == std::string::npos) {
        const long long value = std::strtoll(text.c_str(), &end, 10);
        if (*end == '\0') return static_cast<int64_t>(value);
      } else {
        const double value = std::strtod(text.c_str(), &end);
        if (*end == '\0') return value;
      }
    }
    return text;
  }

  std::vector<std::string> lines_;
  size_t at_ = 0;
};

}  // namespace

std::string QuantDescriptor::to_yaml() const {
  if (axis && axis->form == Axis::Form::kInt)
    fail("[quant_desc] YAML needs axis as a list of dimensions, got the number {}", axis->dims.at(0));
  Json dict = to_dict();
  if (axis) dict["axis"] = axis->dims;
  std::map<std::string, Json> sorted;
  for (const auto& [key, value] : dict.items()) sorted[key] = value;
  std::string out;
  for (const auto& [key, value] : sorted) {
    if (value.is_array())
      out += value.empty() ? fmt::format("{}: []\n", key) : fmt::format("{}:\n{}", key, block(value));
    else
      out += fmt::format("{}: {}\n", key, scalar(value));
  }
  return out;
}

QuantDescriptor QuantDescriptor::from_yaml(std::string_view text) {
  Json object = Reader(text).mapping();
  if (const auto axis = object.find("axis"); axis != object.end() && axis->is_array())
    *axis = Json{{"tuple", Json(*axis)}};
  return from_json(object);
}

}  // namespace qdqbert::quant
