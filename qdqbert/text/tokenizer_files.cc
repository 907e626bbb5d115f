// Saved tokenizers: which files a directory holds, and what they say.
#include <algorithm>
#include <array>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/log.h"
#include "qdqbert/text/tokenizer.h"
#include "qdqbert/text/tokenizer_json.h"

namespace qdqbert::text {

namespace fs = std::filesystem;

namespace {

constexpr size_t kLargestFile = size_t{1} << 28;

/// Tokenizer classes that are BERT's under another name.
constexpr std::array kBertClasses = {
    "BertTokenizer",    "BertTokenizerFast",    "DistilBertTokenizer", "DistilBertTokenizerFast",
    "ElectraTokenizer", "ElectraTokenizerFast", "MobileBertTokenizer", "MobileBertTokenizerFast"};

/// Classes that are tokenizer.json alone, of the reference's fourth and fifth version: the other files say
/// nothing about normalization, nor which tokens are put around a text.
constexpr std::array kJsonClasses = {"PreTrainedTokenizerFast", "TokenizersBackend"};

template <size_t kCount>
bool is_one_of(const std::array<const char*, kCount>& names, const Json& name) {
  return name.is_string() &&
         std::find(names.begin(), names.end(), name.get_ref<const std::string&>()) != names.end();
}

void read_flag(const Json& config, const char* key, const std::string& name, std::optional<bool>& value) {
  const auto found = config.find(key);
  if (found == config.end()) return;
  if (found->is_null()) {
    value.reset();
  } else if (found->is_boolean()) {
    value = found->get<bool>();
  } else {
    fail("[tokenizer] {}: {} must be true, false or null, found {}", name, key,
         dump_json(*found, {.indent = -1}));
  }
}

void read_flag(const Json& config, const char* key, const std::string& name, bool& value) {
  std::optional<bool> read = value;
  read_flag(config, key, name, read);
  value = read.value_or(value);
}

void read_side(const Json& config, const char* key, const std::string& name, Side& side) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return;
  if (*found != "left" && *found != "right")
    fail("[tokenizer] {}: {} must be \"left\" or \"right\", found {}", name, key,
         dump_json(*found, {.indent = -1}));
  side = *found == "left" ? Side::kLeft : Side::kRight;
}

/// A special token is a string, or an object with its content.
void read_specials(const Json& config, const std::string& name, bool json_alone, TokenizerOptions& options) {
  std::string of_json;  // named there already
  const std::pair<const char*, std::string*> members[] = {{"unk_token", json_alone ? &of_json : &options.unk},
                                                          {"sep_token", json_alone ? &of_json : &options.sep},
                                                          {"pad_token", &options.pad},
                                                          {"cls_token", json_alone ? &of_json : &options.cls},
                                                          {"mask_token", &options.mask}};
  for (const auto& [key, value] : members) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) continue;
    const Json* token = &*found;
    if (token->is_object() && token->contains("content")) token = &(*token)["content"];
    if (!token->is_string() || token->get_ref<const std::string&>().empty())
      fail("[tokenizer] {}: {} must be a token, found {}", name, key, dump_json(*found, {.indent = -1}));
    *value = token->get<std::string>();
  }
}

Json read_object(const fs::path& path) {
  Json json = parse_json(read_file(path, kLargestFile), path.string());
  if (!json.is_object()) fail("[tokenizer] {} must hold one JSON object", path.string());
  return json;
}

/// Added tokens by name; the five special ones may stand there, others are refused.
void refuse_others(const std::string& token, const TokenizerOptions& options, const std::string& name) {
  for (const std::string& known : {options.unk, options.sep, options.pad, options.cls, options.mask})
    if (token == known) return;
  fail(
      "[tokenizer] {}: the added token \"{}\" is not one of BERT's five special tokens; "
      "others are not supported",
      name, token);
}

/// `json`: what tokenizer.json says, nullptr where there is none.
void read_config(const fs::path& directory, const TokenizerJson* json, TokenizerOptions& options) {
  const fs::path path = directory / "tokenizer_config.json";
  bool lists_added_tokens = false, json_alone = false;
  if (fs::exists(path)) {
    const Json config = read_object(path);
    const std::string name = path.string();
    if (const auto kind = config.find("tokenizer_class"); kind != config.end() && !kind->is_null()) {
      json_alone = is_one_of(kJsonClasses, *kind);
      if (!json_alone && !is_one_of(kBertClasses, *kind))
        fail("[tokenizer] {} is for a {}; only BERT's WordPiece tokenizer is supported", name,
             dump_json(*kind, {.indent = -1}));
      if (json_alone && !json)
        fail("[tokenizer] {} is for a {}, which is tokenizer.json alone, and that is not there", name,
             dump_json(*kind, {.indent = -1}));
      if (json_alone && !json->adds_specials)
        fail(
            "[tokenizer] {} is for a {}, and tokenizer.json has no post_processor: texts would have neither {} nor "
            "{}, which is not supported; give the file a post_processor, or the class BertTokenizer",
            name, dump_json(*kind, {.indent = -1}), options.cls, options.sep);
    }
    if (!json_alone) {
      // BERT's own classes begin with their defaults, whatever the normalizer of tokenizer.json says.
      const TokenizerOptions defaults;
      options.lower_case = defaults.lower_case;
      options.strip_accents = defaults.strip_accents;
      options.split_cjk = defaults.split_cjk;
      read_flag(config, "do_lower_case", name, options.lower_case);
      read_flag(config, "strip_accents", name, options.strip_accents);
      read_flag(config, "tokenize_chinese_chars", name, options.split_cjk);
    }
    read_side(config, "padding_side", name, options.padding_side);
    read_side(config, "truncation_side", name, options.truncation_side);
    if (const auto length = config.find("model_max_length"); length != config.end() && !length->is_null()) {
      if (!length->is_number() || length->get<double>() < 1)
        fail("[tokenizer] {}: model_max_length must be a positive number, found {}", name,
             dump_json(*length, {.indent = -1}));
      options.model_max_length = static_cast<int>(std::min<double>(length->get<double>(), kNoMaxLength));
    }
    read_specials(config, name, json_alone, options);
    if (const auto added = config.find("added_tokens_decoder"); added != config.end() && !added->is_null()) {
      lists_added_tokens = true;
      if (!added->is_object()) fail("[tokenizer] {}: added_tokens_decoder must be an object", name);
      for (const auto& [id, token] : added->items()) {
        if (!token.is_object() || !token.contains("content") || !token["content"].is_string())
          fail("[tokenizer] {}: token {} of added_tokens_decoder has no content", name, id);
        refuse_others(token["content"].get<std::string>(), options, name);
      }
    }
  }
  if (const fs::path map = directory / "special_tokens_map.json"; !lists_added_tokens && fs::exists(map))
    read_specials(read_object(map), map.string(), json_alone, options);
  if (const fs::path added = directory / "added_tokens.json"; fs::exists(added)) {
    const Json json = read_object(added);
    for (const auto& [token, id] : json.items()) refuse_others(token, options, added.string());
  }
}

TokenizerOptions overridden(TokenizerOptions options, const TokenizerOverrides& overrides) {
  options.lower_case = overrides.lower_case.value_or(options.lower_case);
  if (overrides.strip_accents) options.strip_accents = overrides.strip_accents;
  options.split_cjk = overrides.split_cjk.value_or(options.split_cjk);
  return options;
}

}  // namespace

Tokenizer Tokenizer::from_directory(const fs::path& directory, const TokenizerOverrides& overrides) {
  if (!fs::is_directory(directory)) fail("[tokenizer] {} is not a directory", directory.string());
  const fs::path json = directory / "tokenizer.json";
  const fs::path vocabulary = directory / "vocab.txt";
  if (fs::exists(json)) {
    TokenizerJson read = parse_tokenizer_json(read_file(json, kLargestFile), json.string());
    TokenizerOptions options = read.options;
    read_config(directory, &read, options);
    if (!read.adds_specials)
      log_warning(
          "[tokenizer] {} has no post_processor; {} and {} are put around texts, as by transformers 5 (4 does not)",
          json.string(), options.cls, options.sep);
    return Tokenizer(std::move(read.vocabulary), overridden(options, overrides));
  }
  if (!fs::exists(vocabulary))
    fail("[tokenizer] {} holds neither vocab.txt nor tokenizer.json", directory.string());
  TokenizerOptions options;
  options.model_max_length = kNoMaxLength;
  read_config(directory, nullptr, options);
  return from_vocabulary(vocabulary, overridden(options, overrides));
}

Tokenizer Tokenizer::from_path(const fs::path& path, const TokenizerOverrides& overrides) {
  if (fs::is_directory(path)) return from_directory(path, overrides);
  if (!fs::exists(path))
    fail("[tokenizer] {} does not exist; a directory, a vocab.txt or a tokenizer.json is needed",
         path.string());
  if (path.extension() != ".json") return from_vocabulary(path, overridden({}, overrides));
  TokenizerJson read = parse_tokenizer_json(read_file(path, kLargestFile), path.string());
  return Tokenizer(std::move(read.vocabulary), overridden(read.options, overrides));
}

void Tokenizer::save(const fs::path& directory) const {
  std::string vocabulary;
  for (const std::string& token : vocabulary_.tokens()) {
    if (token.find('\n') != std::string::npos)
      fail("[tokenizer] the token {} holds a line end, which vocab.txt cannot hold",
           dump_json(Json(token), {.indent = -1}));
    vocabulary += token;
    vocabulary += '\n';
  }
  const std::pair<const char*, std::pair<const std::string*, int32_t>> specials[] = {
      {"unk_token", {&options_.unk, unk_}},
      {"sep_token", {&options_.sep, sep_}},
      {"pad_token", {&options_.pad, pad_}},
      {"cls_token", {&options_.cls, cls_}},
      {"mask_token", {&options_.mask, mask_}}};
  Json map, config;
  for (const auto& [key, token] : specials) {
    map[key] = config[key] = *token.first;
    config["added_tokens_decoder"][std::to_string(token.second)] = {
        {"content", *token.first}, {"lstrip", false},      {"normalized", false},
        {"rstrip", false},         {"single_word", false}, {"special", true}};
  }
  config["clean_up_tokenization_spaces"] = true;
  config["do_lower_case"] = options_.lower_case;
  config["strip_accents"] = options_.strip_accents ? Json(*options_.strip_accents) : Json();
  config["tokenize_chinese_chars"] = options_.split_cjk;
  config["tokenizer_class"] = "BertTokenizer";
  // What the reference writes for "no limit": the integer nearest to 1e30 in double precision. No JSON
  // integer type holds it, so it is put in as text.
  const bool limited = options_.model_max_length < kNoMaxLength;
  config["model_max_length"] = limited ? options_.model_max_length : kNoMaxLength;
  if (options_.padding_side == Side::kLeft) config["padding_side"] = "left";
  if (options_.truncation_side == Side::kLeft) config["truncation_side"] = "left";
  const JsonStyle style{.indent = 2, .sort_keys = true, .ascii = false, .final_newline = true};
  std::string config_text = dump_json(config, style);
  if (!limited) {
    const std::string key = "\"model_max_length\": ";
    config_text.replace(config_text.find(key) + key.size(), std::to_string(kNoMaxLength).size(),
                        "1000000000000000019884624838656");
  }
  write_file(directory / "vocab.txt", vocabulary);
  write_file(directory / "special_tokens_map.json", dump_json(map, style));
  write_file(directory / "tokenizer_config.json", config_text);
  write_file(directory / "tokenizer.json", dump_tokenizer_json(*this));
}

}  // namespace qdqbert::text
