#include "qdqbert/text/tokenizer_json.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "qdqbert/base/error.h"
#include "qdqbert/base/json.h"

namespace qdqbert::text {

namespace {

/// Sorted keys, not the ordered ones of base/json.h: those look every key up linearly, and a vocabulary is
/// one object with 30,000 to 120,000 of them.
using SortedJson = nlohmann::json;

SortedJson parse(std::string_view text, const std::string& name) {
  try {
    return SortedJson::parse(text);
  } catch (const SortedJson::parse_error& error) {
    const size_t end = std::min(error.byte, text.size());
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), '\n');
    fail("[tokenizer] {} is not JSON: something is wrong at line {}, byte {}", name, line, error.byte);
  } catch (const SortedJson::exception&) {
    fail("[tokenizer] {} is not JSON: a number in it is out of range", name);
  }
}

/// Reads members of one object and names the path when something is not as needed.
class Part {
 public:
  Part(const SortedJson& value, std::string where, const std::string& name)
      : value_(value), where_(std::move(where)), name_(name) {
    if (!value.is_object())
      fail("[tokenizer] {}: {} must be an object, found {}", name, where_, shown(value));
  }
  const SortedJson* find(const char* key) const {
    const auto found = value_.find(key);
    return found == value_.end() || found->is_null() ? nullptr : &*found;
  }
  std::string type() const { return text("type", "without a type"); }
  std::string text(const char* key, const std::string& otherwise) const {
    const SortedJson* found = find(key);
    if (!found) return otherwise;
    if (!found->is_string()) wrong(key, "a string", *found);
    return found->get<std::string>();
  }
  std::optional<bool> flag(const char* key) const {
    const SortedJson* found = find(key);
    if (!found) return std::nullopt;
    if (!found->is_boolean()) wrong(key, "true or false", *found);
    return found->get<bool>();
  }
  std::optional<int64_t> integer(const char* key) const {
    const SortedJson* found = find(key);
    if (!found) return std::nullopt;
    if (!found->is_number_integer()) wrong(key, "an integer", *found);
    return found->get<int64_t>();
  }
  [[noreturn]] void wrong(const char* key, const char* wanted, const SortedJson& found) const {
    fail("[tokenizer] {}: {} in {} must be {}, found {}", name_, key, where_, wanted, shown(found));
  }
  /// A short form of any value for messages.
  static std::string shown(const SortedJson& value) {
    std::string text = value.is_object()  ? "an object"
                       : value.is_array() ? "a list"
                                          : value.dump(-1, ' ', true, SortedJson::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 57) + "...";
    return text;
  }

 private:
  const SortedJson& value_;
  std::string where_;
  const std::string& name_;
};

/// The member `key` of the file as an object whose type must be one of `types`.
void require_type(const Part& whole, const char* key, std::initializer_list<const char*> types,
                  const std::string& name) {
  const SortedJson* value = whole.find(key);
  if (!value) return;
  const std::string type = Part(*value, key, name).type();
  if (std::find(types.begin(), types.end(), type) == types.end())
    fail("[tokenizer] {} has the {} {}; only BERT's {} is supported", name, key, type, *types.begin());
}

std::vector<std::string> read_vocabulary(const SortedJson& vocab, const std::string& name) {
  if (!vocab.is_object())
    fail("[tokenizer] {}: model.vocab must be an object, found {}", name, Part::shown(vocab));
  std::vector<std::string> tokens(vocab.size());
  std::vector<bool> seen(vocab.size());
  for (const auto& [token, id] : vocab.items()) {
    const bool in_range = id.is_number_unsigned() && id.get<uint64_t>() < tokens.size();
    if (!in_range)
      fail(
          "[tokenizer] {}: the vocabulary gives \"{}\" the id {}, but its {} tokens "
          "must have the ids 0 to {}",
          name, token, Part::shown(id), tokens.size(), tokens.size() - 1);
    const auto i = id.get<size_t>();
    if (seen[i])
      fail("[tokenizer] {}: the vocabulary gives the id {} to \"{}\" and to \"{}\"", name, i, tokens[i],
           token);
    seen[i] = true;
    tokens[i] = token;
  }
  return tokens;
}

/// [CLS] A [SEP] B [SEP] is written in two forms; gives the two tokens.
void read_post_processor(const Part& whole, TokenizerOptions& options, const std::string& name) {
  const SortedJson* value = whole.find("post_processor");
  if (!value) return;
  const Part part(*value, "post_processor", name);
  const auto refuse = [&] {
    fail("[tokenizer] {}: the post_processor does not build [CLS] A [SEP] B [SEP], which BERT needs", name);
  };
  if (part.type() == "BertProcessing") {
    const auto token = [&](const char* key) -> std::string {
      const SortedJson* pair = part.find(key);
      if (!pair || !pair->is_array() || pair->empty() || !(*pair)[0].is_string()) refuse();
      return (*pair)[0].get<std::string>();
    };
    options.cls = token("cls");
    options.sep = token("sep");
    return;
  }
  // One letter per item: a special token or a sequence, with its type id.
  const auto items = [&](const char* key) {
    std::string shape;
    std::vector<std::string> specials;
    const SortedJson* list = part.find(key);
    if (!list || !list->is_array()) refuse();
    for (const SortedJson& item : *list) {
      if (!item.is_object() || item.size() != 1) refuse();
      const auto member = item.begin();
      const Part inner(member.value(), "post_processor", name);
      const std::string id = inner.text("id", "");
      if (member.key() == "SpecialToken") {
        specials.push_back(id);
        shape += 's';
      } else {
        shape += id;
      }
      shape += std::to_string(inner.integer("type_id").value_or(0));
    }
    return std::pair(shape, specials);
  };
  const auto [single, specials] = items("single");
  const auto [pair, pair_specials] = items("pair");
  if (single != "s0A0s0" || pair != "s0A0s0B1s1" || pair_specials[0] != specials[0] ||
      pair_specials[1] != specials[1] || pair_specials[2] != specials[1])
    refuse();
  options.cls = specials[0];
  options.sep = specials[1];
}

/// A Sequence of one is that one.
void unwrap_sequence(SortedJson& json, const char* key, const char* list) {
  if (!json.is_object() || !json.contains(key)) return;
  SortedJson& part = json[key];
  if (!part.is_object() || !part.contains("type") || part["type"] != "Sequence" || !part.contains(list))
    return;
  if (!part[list].is_array() || part[list].size() != 1) return;
  SortedJson only = part[list][0];
  part = std::move(only);
}

}  // namespace

TokenizerJson parse_tokenizer_json(std::string_view text, const std::string& name) {
  SortedJson json = parse(text, name);
  unwrap_sequence(json, "normalizer", "normalizers");
  unwrap_sequence(json, "pre_tokenizer", "pretokenizers");
  unwrap_sequence(json, "post_processor", "processors");
  const Part whole(json, "the file", name);
  const SortedJson* model_json = whole.find("model");
  if (!model_json) fail("[tokenizer] {} has no model, so it is not a tokenizer.json", name);
  const Part model(*model_json, "model", name);
  // Files of the first releases do not name the type of the model.
  const bool unnamed = !model.find("type") && model.find("max_input_chars_per_word");
  if (!unnamed && model.type() != "WordPiece")
    fail("[tokenizer] {} is a {} tokenizer; only BERT's WordPiece is supported", name, model.type());
  if (const std::string prefix = model.text("continuing_subword_prefix", "##"); prefix != "##")
    fail("[tokenizer] {}: continuing_subword_prefix is \"{}\", only \"##\" is supported", name, prefix);
  if (const int64_t longest = model.integer("max_input_chars_per_word").value_or(100); longest != 100)
    fail("[tokenizer] {}: max_input_chars_per_word is {}, only 100 is supported", name, longest);
  const SortedJson* normalizer_json = whole.find("normalizer");
  if (!normalizer_json) fail("[tokenizer] {} has no normalizer; only BertNormalizer is supported", name);
  require_type(whole, "normalizer", {"BertNormalizer"}, name);
  if (!whole.find("pre_tokenizer"))
    fail("[tokenizer] {} has no pre_tokenizer; only BertPreTokenizer is supported", name);
  require_type(whole, "pre_tokenizer", {"BertPreTokenizer"}, name);
  require_type(whole, "post_processor", {"TemplateProcessing", "BertProcessing"}, name);
  require_type(whole, "decoder", {"WordPiece"}, name);

  TokenizerOptions options;
  const Part normalizer(*normalizer_json, "normalizer", name);
  if (!normalizer.flag("clean_text").value_or(true))
    fail("[tokenizer] {}: clean_text is false, only true is supported", name);
  options.split_cjk = normalizer.flag("handle_chinese_chars").value_or(true);
  options.strip_accents = normalizer.flag("strip_accents");
  options.lower_case = normalizer.flag("lowercase").value_or(true);
  options.unk = model.text("unk_token", options.unk);
  options.model_max_length = kNoMaxLength;
  read_post_processor(whole, options, name);

  const SortedJson* vocab = model.find("vocab");
  if (!vocab) fail("[tokenizer] {} has no model.vocab", name);
  TokenizerJson result{Vocabulary(read_vocabulary(*vocab, name), name), options,
                       whole.find("post_processor") != nullptr};
  if (const SortedJson* added = whole.find("added_tokens")) {
    if (!added->is_array()) whole.wrong("added_tokens", "a list", *added);
    const std::array<std::string, 5> known{options.unk, options.sep, options.pad, options.cls, options.mask};
    for (const SortedJson& item : *added) {
      const Part token(item, "added_tokens", name);
      const std::string content = token.text("content", "");
      if (std::find(known.begin(), known.end(), content) == known.end())
        fail(
            "[tokenizer] {}: the added token \"{}\" is not one of BERT's five special tokens; "
            "others are not supported",
            name, content);
      if (token.integer("id") != result.vocabulary.id(content))
        fail("[tokenizer] {}: the added token {} has the id {}, in the vocabulary it has {}", name, content,
             token.integer("id").value_or(-1), result.vocabulary.id(content));
      for (const char* key : {"single_word", "lstrip", "rstrip", "normalized"})
        if (token.flag(key).value_or(false))
          fail("[tokenizer] {}: the added token {} has {} set, which is not supported", name, content, key);
    }
  }
  return result;
}

namespace {

void append_quoted(const std::string& text, std::string& out) {
  out += dump_json(Json(text), {.indent = -1, .ascii = false});
}

/// A name for a blank line of vocab.txt: with a space, so that no text reaches it here either.
std::string blank_name(const Vocabulary& vocabulary, size_t id) {
  std::string name = fmt::format("[blank {}]", id);
  while (vocabulary.id(name) >= 0) name += " ";
  return name;
}

Json template_item(const char* kind, const std::string& id, int type) {
  return Json{{kind, Json{{"id", id}, {"type_id", type}}}};
}

}  // namespace

std::string dump_tokenizer_json(const Tokenizer& tokenizer) {
  const TokenizerOptions& options = tokenizer.options();
  Json json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  std::vector<std::pair<int32_t, std::string>> specials;
  for (const std::string& token : {options.unk, options.sep, options.pad, options.cls, options.mask})
    specials.emplace_back(tokenizer.vocabulary().id(token), token);
  std::sort(specials.begin(), specials.end());
  json["added_tokens"] = Json::array();
  for (const auto& [id, token] : specials)
    json["added_tokens"].push_back(Json{{"id", id},
                                        {"content", token},
                                        {"single_word", false},
                                        {"lstrip", false},
                                        {"rstrip", false},
                                        {"normalized", false},
                                        {"special", true}});
  json["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", true},
                        {"handle_chinese_chars", options.split_cjk},
                        {"strip_accents", options.strip_accents ? Json(*options.strip_accents) : Json()},
                        {"lowercase", options.lower_case}};
  json["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  Json& post = json["post_processor"];
  post["type"] = "TemplateProcessing";
  post["single"] =
      Json::array({template_item("SpecialToken", options.cls, 0), template_item("Sequence", "A", 0),
                   template_item("SpecialToken", options.sep, 0)});
  post["pair"] = post["single"];
  post["pair"].push_back(template_item("Sequence", "B", 1));
  post["pair"].push_back(template_item("SpecialToken", options.sep, 1));
  for (const auto& [token, id] :
       {std::pair(options.cls, tokenizer.cls_id()), std::pair(options.sep, tokenizer.sep_id())})
    post["special_tokens"][token] = {
        {"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
  json["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  json["model"] = {{"type", "WordPiece"},
                   {"unk_token", options.unk},
                   {"continuing_subword_prefix", "##"},
                   {"max_input_chars_per_word", 100},
                   {"vocab", Json::object()}};
  std::string text = dump_json(json, {.indent = 2, .ascii = false});
  // The vocabulary is the last value of all: "{}" and the closing braces of model and file follow it.
  const size_t at = text.rfind("{}");
  std::string vocab = "{";
  const std::vector<std::string>& tokens = tokenizer.vocabulary().tokens();
  for (size_t i = 0; i < tokens.size(); ++i) {
    vocab += i == 0 ? "\n      " : ",\n      ";
    append_quoted(tokens[i].empty() ? blank_name(tokenizer.vocabulary(), i) : tokens[i], vocab);
    vocab += ": " + std::to_string(i);
  }
  vocab += "\n    }";
  return text.replace(at, 2, vocab);
}

}  // namespace qdqbert::text
