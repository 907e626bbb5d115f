// Tokenizer files that are damaged, inconsistent or of another kind are refused with one sentence; texts of
// every kind are tokenized, in linear time.
#include <chrono>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/base/utf8.h"
#include "qdqbert/text/encoding.h"
#include "qdqbert/text/tokenizer.h"
#include "qdqbert/text/tokenizer_json.h"

#include "tests/support/refusal.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::text {
namespace {

using ::testing::HasSubstr;

const char* kVocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nb\n.\ni\n";

using testing::refusal;

std::string vocabulary_refusal(const std::string& content) {
  const ScratchDirectory scratch;
  write_file(scratch / "vocab.txt", content);
  return refusal([&] { Tokenizer::from_directory(scratch.path()); });
}

std::string config_refusal(const char* file, const std::string& content) {
  const ScratchDirectory scratch;
  write_file(scratch / "vocab.txt", kVocabulary);
  write_file(scratch / file, content);
  return refusal([&] { Tokenizer::from_directory(scratch.path()); });
}

std::string good_json() {
  const ScratchDirectory scratch;
  write_file(scratch / "vocab.txt", kVocabulary);
  return dump_tokenizer_json(Tokenizer::from_directory(scratch.path()));
}

/// The refusal of a good tokenizer.json after one change.
std::string json_refusal(const std::function<void(Json&)>& change) {
  Json json = parse_json(good_json(), "good");
  change(json);
  const std::string text = dump_json(json);
  return refusal([&] { parse_tokenizer_json(text, "tokenizer.json"); });
}

TEST(TextHostile, Vocabularies) {
  EXPECT_EQ(vocabulary_refusal(kVocabulary), "");
  EXPECT_THAT(vocabulary_refusal(""), HasSubstr("holds no tokens"));
  EXPECT_THAT(vocabulary_refusal(std::string(kVocabulary) + "b\n"),
              HasSubstr("\"b\" stands on line 8 and again on line 11"));
  EXPECT_THAT(vocabulary_refusal("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\na\r\n\r\na\r\n"),
              HasSubstr("\"a\" stands on line 6 and again on line 8"));
  EXPECT_THAT(vocabulary_refusal("\n\r\n\n"), HasSubstr("[UNK]")) << "a carriage return can be a token";
  EXPECT_THAT(vocabulary_refusal("\n\n\n"), HasSubstr("holds no tokens"));
  EXPECT_THAT(vocabulary_refusal("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n"), HasSubstr("[MASK]"));
  EXPECT_THAT(vocabulary_refusal("[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n"), HasSubstr("[PAD]"));
  EXPECT_THAT(vocabulary_refusal(std::string(kVocabulary) + "\n\xff\n"), HasSubstr("line 12"));
  EXPECT_THAT(vocabulary_refusal(std::string(kVocabulary) + "c\xed\xa0\x80\n"),
              HasSubstr("line 11 is not valid UTF-8"));
}

TEST(TextHostile, Directories) {
  const ScratchDirectory scratch;
  EXPECT_THAT(refusal([&] { Tokenizer::from_directory(scratch.path()); }),
              HasSubstr("holds neither vocab.txt nor tokenizer.json"));
  EXPECT_THAT(refusal([&] { Tokenizer::from_directory(scratch / "none"); }), HasSubstr("is not a directory"));
  EXPECT_THAT(refusal([&] { Tokenizer::from_path(scratch / "none"); }), HasSubstr("does not exist"));
}

TEST(TextHostile, SavingWhereNothingCanBeWritten) {
  const ScratchDirectory scratch;
  write_file(scratch / "vocab.txt", kVocabulary);
  const Tokenizer tokenizer = Tokenizer::from_directory(scratch.path());
  EXPECT_THROW(tokenizer.save(scratch / "none"), Error);
  const Tokenizer unsaveable(Vocabulary({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a\nb"}, "test"), {});
  EXPECT_THAT(refusal([&] { unsaveable.save(scratch.path()); }), HasSubstr("line end"));
  EXPECT_EQ(read_file(scratch / "vocab.txt"), kVocabulary);
}

TEST(TextHostile, Configurations) {
  const char* config = "tokenizer_config.json";
  EXPECT_EQ(config_refusal(config, R"({"do_lower_case": false, "tokenizer_class": "BertTokenizerFast"})"),
            "");
  EXPECT_THAT(config_refusal(config, R"({"do_lower_case": false)"), HasSubstr("line 1"));
  EXPECT_THAT(config_refusal(config, "[]"), HasSubstr("one JSON object"));
  EXPECT_THAT(config_refusal(config, ""), HasSubstr(config));
  EXPECT_THAT(config_refusal(config, R"({"do_lower_case": "yes"})"),
              HasSubstr("do_lower_case must be true, false"));
  EXPECT_THAT(config_refusal(config, R"({"strip_accents": 1})"), HasSubstr("strip_accents"));
  EXPECT_THAT(config_refusal(config, R"({"padding_side": "top"})"), HasSubstr("\"left\" or \"right\""));
  EXPECT_THAT(config_refusal(config, R"({"model_max_length": -1})"), HasSubstr("positive"));
  EXPECT_THAT(config_refusal(config, R"({"model_max_length": "512"})"), HasSubstr("positive"));
  EXPECT_THAT(config_refusal(config, R"({"model_max_length": NaN})"), HasSubstr("positive"));
  EXPECT_THAT(config_refusal(config, R"({"tokenizer_class": "RobertaTokenizer"})"),
              HasSubstr("RobertaTokenizer"));
  EXPECT_THAT(config_refusal(config, R"({"cls_token": 3})"), HasSubstr("cls_token must be a token"));
  EXPECT_THAT(config_refusal(config, R"({"cls_token": ""})"), HasSubstr("cls_token must be a token"));
  EXPECT_THAT(config_refusal(config, R"({"cls_token": "<s>"})"), HasSubstr("<s>"));
  EXPECT_THAT(config_refusal(config, R"({"added_tokens_decoder": {"5": {"content": "<e1>"}}})"),
              HasSubstr("<e1>"));
  EXPECT_THAT(config_refusal(config, R"({"added_tokens_decoder": {"5": "<e1>"}})"),
              HasSubstr("has no content"));
  EXPECT_THAT(config_refusal(config, R"({"added_tokens_decoder": [1]})"), HasSubstr("must be an object"));
  EXPECT_THAT(config_refusal("special_tokens_map.json", R"({"sep_token": []})"), HasSubstr("sep_token"));
  EXPECT_THAT(config_refusal("added_tokens.json", R"({"<e2>": 30522})"), HasSubstr("<e2>"));
}

TEST(TextHostile, OtherTokenizersAreRefusedByName) {
  for (const char* model : {"BPE", "Unigram", "WordLevel"})
    EXPECT_THAT(json_refusal([&](Json& j) { j["model"]["type"] = model; }), HasSubstr(model));
  for (const char* normalizer : {"Sequence", "Lowercase", "NFC", "Replace"})
    EXPECT_THAT(json_refusal([&](Json& j) {
                  j["normalizer"] = {{"type", normalizer}};
                }),
                HasSubstr(normalizer));
  EXPECT_THAT(json_refusal([](Json& j) { j["normalizer"] = nullptr; }), HasSubstr("no normalizer"));
  EXPECT_THAT(json_refusal([](Json& j) {
                j["pre_tokenizer"] = {{"type", "ByteLevel"}};
              }),
              HasSubstr("ByteLevel"));
  EXPECT_THAT(json_refusal([](Json& j) { j.erase("pre_tokenizer"); }), HasSubstr("pre_tokenizer"));
  EXPECT_THAT(json_refusal([](Json& j) { j["decoder"] = {{"type", "Metaspace"}}; }), HasSubstr("Metaspace"));
  EXPECT_THAT(json_refusal([](Json& j) {
                j["post_processor"] = {{"type", "RobertaProcessing"}};
              }),
              HasSubstr("RobertaProcessing"));
  EXPECT_THAT(json_refusal([](Json& j) { j["post_processor"]["pair"].erase(4); }),
              HasSubstr("post_processor"));
  EXPECT_THAT(json_refusal([](Json& j) { j["model"]["continuing_subword_prefix"] = "@@"; }), HasSubstr("@@"));
  EXPECT_THAT(json_refusal([](Json& j) { j["model"]["max_input_chars_per_word"] = 200; }), HasSubstr("200"));
  EXPECT_THAT(json_refusal([](Json& j) { j["normalizer"]["clean_text"] = false; }), HasSubstr("clean_text"));
  EXPECT_THAT(json_refusal([](Json& j) { j["added_tokens"][0]["content"] = "<e1>"; }), HasSubstr("<e1>"));
  EXPECT_THAT(json_refusal([](Json& j) { j["added_tokens"][0]["lstrip"] = true; }), HasSubstr("lstrip"));
  EXPECT_THAT(json_refusal([](Json& j) { j["added_tokens"][0]["id"] = 7; }), HasSubstr("id 7"));
}

TEST(TextHostile, TokenizerJsonVocabularies) {
  const auto with = [](const char* token, const Json& id) {
    return json_refusal([&](Json& j) { j["model"]["vocab"][token] = id; });
  };
  EXPECT_THAT(with("new", 11), HasSubstr("ids 0 to 10"));
  EXPECT_THAT(with("new", 5), HasSubstr("id 5"));
  EXPECT_THAT(with("new", -1), HasSubstr("-1"));
  EXPECT_THAT(with("new", 1.5), HasSubstr("1.5"));
  EXPECT_THAT(with("new", "10"), HasSubstr("new"));
  EXPECT_THAT(with("new", uint64_t{1} << 63), HasSubstr("9223372036854775808"));
  EXPECT_EQ(with("", 10), "") << "a token that no text has";
  EXPECT_THAT(json_refusal([](Json& j) { j["model"]["vocab"] = Json::array(); }), HasSubstr("model.vocab"));
  EXPECT_THAT(json_refusal([](Json& j) { j["model"]["vocab"] = Json::object(); }), HasSubstr("no tokens"));
  EXPECT_THAT(json_refusal([](Json& j) { j["model"].erase("vocab"); }), HasSubstr("model.vocab"));
  EXPECT_THAT(json_refusal([](Json& j) { j.erase("model"); }), HasSubstr("no model"));
}

TEST(TextHostile, EveryPrefixAndEveryWrongTypeOfTokenizerJson) {
  const std::string text = good_json();
  EXPECT_EQ(refusal([&] { parse_tokenizer_json(text, "whole"); }), "");
  for (size_t length = 0; length < text.size(); ++length)
    EXPECT_NE(refusal([&] { parse_tokenizer_json(std::string_view(text).substr(0, length), "prefix"); }), "")
        << length;
  const Json good = parse_json(text, "good").flatten();
  for (const auto& [pointer, value] : good.items())
    for (const Json& other :
         {Json(nullptr), Json(true), Json(-3), Json(1e300), Json("x"), Json::array({1}), Json::object()}) {
      Json changed = good.unflatten();
      changed[Json::json_pointer(pointer)] = other;
      // Either is fine, as long as it is one of the two.
      refusal([&] { parse_tokenizer_json(dump_json(changed), "changed"); });
    }
  EXPECT_THAT(refusal([] { parse_tokenizer_json(std::string(1000000, '['), "deep"); }),
              HasSubstr("not JSON"));
  EXPECT_THAT(
      refusal([] { parse_tokenizer_json(std::string(100000, '[') + std::string(100000, ']'), "deep"); }),
      HasSubstr("must be an object"));
  EXPECT_THAT(refusal([] { parse_tokenizer_json("{\"model\": 1e999}", "number"); }),
              HasSubstr("out of range"));
}

/// Offsets lie within the text and never go back, ids within the vocabulary.
void expect_sound(const Tokenizer& tokenizer, const std::string& text) {
  const Tokens tokens = tokenizer.tokenize(text);
  const size_t length = decode_utf8(text).size();
  ASSERT_EQ(tokens.ids.size(), tokens.offsets.size());
  uint32_t begin = 0;
  for (size_t t = 0; t < tokens.size(); ++t) {
    ASSERT_GE(tokens.ids[t], 0);
    ASSERT_LT(static_cast<size_t>(tokens.ids[t]), tokenizer.vocabulary().size());
    ASSERT_GE(tokens.offsets[t].begin, begin);
    ASSERT_GT(tokens.offsets[t].end, tokens.offsets[t].begin);
    ASSERT_LE(tokens.offsets[t].end, length);
    begin = tokens.offsets[t].begin;
  }
}

TEST(TextHostile, TextsThatGrowOrDoNotEnd) {
  std::vector<std::string> units = {"a",
                                    "[",
                                    "[MASK",
                                    "[MASK]",
                                    ".",
                                    "\xcc\x81",
                                    "\xcc\xa7\xcc\x81",
                                    "\0",
                                    "\xff",
                                    "\xc3",
                                    "\xed\x95\x9c",
                                    "\xc4\xb0",
                                    "\xe4\xb8\x80",
                                    "\xf0\x9f\x98\x80",
                                    " ",
                                    "\xe2\x80\x8b",
                                    "a\xcc\x81 "};
  units[7] = std::string(1, '\0');
  for (const bool lower : {false, true})
    for (const bool strip : {false, true}) {
      TokenizerOptions options;
      options.lower_case = lower;
      options.strip_accents = strip;
      const Tokenizer tokenizer(
          Vocabulary({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", ".", "["}, "test"), options);
      for (const std::string& unit : units) {
        std::string text;
        while (text.size() < 400000) text += unit;
        // Linear work takes milliseconds; quadratic work would take minutes.
        const auto start = std::chrono::steady_clock::now();
        expect_sound(tokenizer, text);
        expect_sound(tokenizer, text + "\xc3\xa9");
        EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20)) << unit;
      }
    }
}

TEST(TextHostile, DecodingIsLinearAndTakesAnyId) {
  const Tokenizer tokenizer(Vocabulary({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "'"}, "test"), {});
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>(500000, 5), false, true).size(), 500000u);
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>(500001, 6), false, true).size(), 500001u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_EQ(
      tokenizer.decode({-1, 7, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()},
                       false, true),
      "");
}

TEST(TextHostile, EncodeOptionsThatCannotBe) {
  const Tokenizer tokenizer(Vocabulary({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"}, "test"), {});
  const auto with = [&](const std::function<void(EncodeOptions&)>& change) {
    EncodeOptions options;
    options.truncation = Truncation::kLongestFirst;
    options.padding = Padding::kMaxLength;
    options.max_length = 16;
    change(options);
    return refusal(
        [&] { encode(tokenizer, {"a a a a a a a a a a a a a a a a a a a a"}, {"a a a a"}, options); });
  };
  EXPECT_EQ(with([](EncodeOptions&) {}), "");
  EXPECT_THAT(with([](EncodeOptions& o) { o.max_length = 3; }), HasSubstr("leaves no room"));
  EXPECT_THAT(with([](EncodeOptions& o) { o.max_length = 0; }), HasSubstr("stride"));
  EXPECT_THAT(with([](EncodeOptions& o) { o.max_length = -5; }), HasSubstr("-5"));
  EXPECT_THAT(with([](EncodeOptions& o) { o.max_length = std::numeric_limits<int>::min(); }), HasSubstr("["));
  EXPECT_THAT(with([](EncodeOptions& o) { o.stride = -1; }), HasSubstr("negative"));
  EXPECT_THAT(with([](EncodeOptions& o) { o.stride = 15; }), HasSubstr("stride of 15"));
  EXPECT_THAT(with([](EncodeOptions& o) { o.pad_to_multiple_of = 0; }), HasSubstr("positive"));
  EXPECT_THAT(with([](EncodeOptions& o) { o.pad_to_multiple_of = 7; }), HasSubstr("multiple of 7"));
  EXPECT_THAT(with([](EncodeOptions& o) {
                o.truncation = Truncation::kNone;
                o.max_length = -5;
              }),
              HasSubstr("-5"));
  EXPECT_THAT(refusal([&] { encode(tokenizer, {"a", "a"}, {"a"}, {}); }), HasSubstr("do not pair up"));
}

}  // namespace
}  // namespace qdqbert::text
