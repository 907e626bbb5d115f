// JSON the way Python's json module reads and writes it, over nlohmann::json.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace qdqbert {

/// Keeps the order of keys, as Python dictionaries do.
using Json = nlohmann::ordered_json;

/// Parses `text`; accepts Python's bare NaN, Infinity and -Infinity as strings of that spelling. Nesting
/// deeper than 512 and syntax errors throw InputError with `name`, line and column.
Json parse_json(std::string_view text, std::string_view name);

/// read_maybe_gzip + parse_json.
Json read_json(const std::filesystem::path& path);

struct JsonStyle {
  int indent = 2;  ///< negative: one line with ", " and ": " as separators
  bool sort_keys = false;
  bool ascii = true;  ///< other characters as `\uXXXX`, surrogate pairs above U+FFFF
  bool final_newline = false;
};

/// Text as Python's json.dumps would give it: shortest round-trip floats ("1.0", "1e-05"), but null for NaN and
/// infinities, which JSON does not have; a number_float holding a float32 value is printed as the double it widens to.
std::string dump_json(const Json& value, const JsonStyle& style = {});

/// The member `key` of `object`; throws InputError naming `where`, the key and the type that is needed.
const Json& require(const Json& object, std::string_view key, Json::value_t type, std::string_view where);

}  // namespace qdqbert
