#include "qdqbert/base/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/utf8.h"

namespace qdqbert {

namespace {

constexpr int kDeepest = 512;

struct Position {
  size_t line = 1, column = 1;
};

Position position_of(std::string_view text, size_t byte) {
  Position at;
  for (size_t i = 0; i < std::min(byte, text.size()); ++i) {
    if (text[i] == '\n') {
      ++at.line;
      at.column = 1;
    } else {
      ++at.column;
    }
  }
  return at;
}

/// Refuses nesting that would exhaust the stack of anything recursive,
/// and quotes Python's bare non-finite numbers.
std::string prepare(std::string_view text, std::string_view name, bool& changed) {
  std::string out;
  int depth = 0;
  bool in_string = false;
  size_t copied = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepest) {
        const Position at = position_of(text, i);
        fail("[json] {}: nested deeper than {} levels at line {}", name, kDeepest, at.line);
      }
    } else if (c == '}' || c == ']') {
      --depth;
    } else if (c == 'N' || c == 'I' || c == '-') {
      for (const std::string_view word :
           {std::string_view("NaN"), std::string_view("Infinity"), std::string_view("-Infinity")}) {
        if (text.substr(i, word.size()) != word) continue;
        out.append(text, copied, i - copied);
        out.append("\"").append(word).append("\"");
        copied = i + word.size();
        i = copied - 1;
        changed = true;
        break;
      }
    }
  }
  if (changed) out.append(text, copied);
  return out;
}

void append_number(double value, std::string& out) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  // Python's repr: shortest digits that round-trip, positional for exponents in [-4, 16), else scientific.
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::scientific).ptr;
  const std::string_view scientific(digits, static_cast<size_t>(end - digits));
  const size_t e = scientific.find('e');
  const int exponent = std::atoi(std::string(scientific.substr(e + 1)).c_str());
  if (exponent >= -4 && exponent < 16) {
    char fixed[400];
    const auto fixed_end = std::to_chars(fixed, fixed + sizeof(fixed), value, std::chars_format::fixed).ptr;
    const std::string_view text(fixed, static_cast<size_t>(fixed_end - fixed));
    out += text;
    if (text.find('.') == std::string_view::npos) out += ".0";
    return;
  }
  out += scientific.substr(0, e);
  out += fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
}

void append_string(const std::string& text, bool ascii, std::string& out) {
  out += '"';
  for (const char32_t c : decode_utf8(text)) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (c < 0x20 || (ascii && c >= 0x7f && c < 0x10000)) {
          if (c == 0x7f) {
            out += '\x7f';
          } else {
            out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
          }
        } else if (ascii && c >= 0x10000) {
          const uint32_t v = static_cast<uint32_t>(c) - 0x10000;
          out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (v >> 10), 0xdc00 + (v & 0x3ff));
        } else {
          append_utf8(c, out);
        }
    }
  }
  out += '"';
}

void append_break(const JsonStyle& style, int depth, std::string& out) {
  if (style.indent < 0) return;
  out += '\n';
  out.append(static_cast<size_t>(style.indent) * static_cast<size_t>(depth), ' ');
}

void append_value(const Json& value, const JsonStyle& style, int depth, std::string& out) {
  const std::string_view comma = style.indent < 0 ? ", " : ",";
  switch (value.type()) {
    case Json::value_t::object: {
      if (value.empty()) {
        out += "{}";
        return;
      }
      std::vector<std::pair<const std::string*, const Json*>> members;
      for (const auto& item : value.items()) members.emplace_back(&item.key(), &item.value());
      if (style.sort_keys)
        std::sort(members.begin(), members.end(),
                  [](const auto& a, const auto& b) { return *a.first < *b.first; });
      out += '{';
      bool first = true;
      for (const auto& [key, member] : members) {
        if (!first) out += comma;
        first = false;
        append_break(style, depth + 1, out);
        append_string(*key, style.ascii, out);
        out += ": ";
        append_value(*member, style, depth + 1, out);
      }
      append_break(style, depth, out);
      out += '}';
      return;
    }
    case Json::value_t::array: {
      if (value.empty()) {
        out += "[]";
        return;
      }
      out += '[';
      bool first = true;
      for (const Json& element : value) {
        if (!first) out += comma;
        first = false;
        append_break(style, depth + 1, out);
        append_value(element, style, depth + 1, out);
      }
      append_break(style, depth, out);
      out += ']';
      return;
    }
    case Json::value_t::string:
      append_string(value.get_ref<const std::string&>(), style.ascii, out);
      return;
    case Json::value_t::number_float:
      append_number(value.get<double>(), out);
      return;
    case Json::value_t::boolean:
      out += value.get<bool>() ? "true" : "false";
      return;
    case Json::value_t::number_integer:
      out += std::to_string(value.get<int64_t>());
      return;
    case Json::value_t::number_unsigned:
      out += std::to_string(value.get<uint64_t>());
      return;
    default:
      out += "null";
  }
}

std::string_view type_name(Json::value_t type) {
  switch (type) {
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "true or false";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return "an integer";
    case Json::value_t::number_float:
      return "a number";
    default:
      return "null";
  }
}

bool fits(const Json& value, Json::value_t type) {
  switch (type) {
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return value.is_number_integer();
    case Json::value_t::number_float:
      return value.is_number();
    default:
      return value.type() == type;
  }
}

}  // namespace

Json parse_json(std::string_view text, std::string_view name) {
  bool changed = false;
  const std::string quoted = prepare(text, name, changed);
  const std::string_view source = changed ? std::string_view(quoted) : text;
  // The parser takes a zero byte for the end of the text.
  if (const size_t zero = source.find('\0'); zero != std::string_view::npos) {
    const Position at = position_of(source, zero);
    fail("[json] {} is not valid JSON at line {}, column {}", name, at.line, at.column);
  }
  try {
    return Json::parse(source.begin(), source.end());
  } catch (const Json::parse_error& error) {
    const Position at = position_of(source, error.byte > 0 ? error.byte - 1 : 0);
    fail("[json] {} is not valid JSON at line {}, column {}", name, at.line, at.column);
  } catch (const Json::out_of_range&) {
    fail("[json] {} has a number that no double can hold", name);
  }
}

Json read_json(const std::filesystem::path& path) {
  return parse_json(read_maybe_gzip(path), path.string());
}

std::string dump_json(const Json& value, const JsonStyle& style) {
  std::string out;
  append_value(value, style, 0, out);
  if (style.final_newline) out += '\n';
  return out;
}

const Json& require(const Json& object, std::string_view key, Json::value_t type, std::string_view where) {
  if (!object.is_object()) fail("[json] {}: an object is needed, found {}", where, type_name(object.type()));
  const auto found = object.find(std::string(key));
  if (found == object.end()) fail("[json] {}: the key \"{}\" is missing", where, key);
  if (!fits(*found, type))
    fail("[json] {}: \"{}\" must be {}, found {}", where, key, type_name(type), type_name(found->type()));
  return *found;
}

}  // namespace qdqbert
