// Saved tokenizers travel both ways between this project and the reference.
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/text/encoding.h"
#include "qdqbert/text/tokenizer.h"

#include "tests/support/scratch_directory.h"

namespace qdqbert::text {
namespace {

const std::vector<std::string> kTokens = {"[PAD]", "[UNK]", "[CLS]",  "[SEP]",  "[MASK]", "\"",
                                          "\\",    "\x7f",  "\u2028", "\u00e9", "caf",    "##\u00e9",
                                          "##e",   "cafe",  "C",      "##af"};

Tokenizer small(TokenizerOptions options = {}) {
  return Tokenizer(Vocabulary(kTokens, "test"), std::move(options));
}

// Written by PyPI's tokenizers 0.23.3 for this vocabulary.
constexpr const char* kReference = R"({
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": [
@ADDED@
  ],
  "normalizer": {
    "type": "BertNormalizer",
    "clean_text": true,
    "handle_chinese_chars": true,
    "strip_accents": null,
    "lowercase": true
  },
  "pre_tokenizer": {
    "type": "BertPreTokenizer"
  },
  "post_processor": {
    "type": "TemplateProcessing",
    "single": [
      {
        "SpecialToken": {
          "id": "[CLS]",
          "type_id": 0
        }
      },
      {
        "Sequence": {
          "id": "A",
          "type_id": 0
        }
      },
      {
        "SpecialToken": {
          "id": "[SEP]",
          "type_id": 0
        }
      }
    ],
    "pair": [
      {
        "SpecialToken": {
          "id": "[CLS]",
          "type_id": 0
        }
      },
      {
        "Sequence": {
          "id": "A",
          "type_id": 0
        }
      },
      {
        "SpecialToken": {
          "id": "[SEP]",
          "type_id": 0
        }
      },
      {
        "Sequence": {
          "id": "B",
          "type_id": 1
        }
      },
      {
        "SpecialToken": {
          "id": "[SEP]",
          "type_id": 1
        }
      }
    ],
    "special_tokens": {
      "[CLS]": {
        "id": "[CLS]",
        "ids": [
          2
        ],
        "tokens": [
          "[CLS]"
        ]
      },
      "[SEP]": {
        "id": "[SEP]",
        "ids": [
          3
        ],
        "tokens": [
          "[SEP]"
        ]
      }
    }
  },
  "decoder": {
    "type": "WordPiece",
    "prefix": "##",
    "cleanup": true
  },
  "model": {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
    "vocab": {
@VOCAB@
    }
  }
})";

std::string reference_json() {
  std::string added;
  for (int i = 0; i < 5; ++i)
    added += (i ? ",\n" : "") + fmt::format(R"(    {{
      "id": {},
      "content": "{}",
      "single_word": false,
      "lstrip": false,
      "rstrip": false,
      "normalized": false,
      "special": true
    }})",
                                            i, kTokens[static_cast<size_t>(i)]);
  const std::vector<std::string> shown = {"[PAD]", "[UNK]", "[CLS]",  "[SEP]",  "[MASK]", "\\\"",
                                          "\\\\",  "\x7f",  "\u2028", "\u00e9", "caf",    "##\u00e9",
                                          "##e",   "cafe",  "C",      "##af"};
  std::string vocab;
  for (size_t i = 0; i < shown.size(); ++i)
    vocab += (i ? ",\n" : "") + fmt::format("      \"{}\": {}", shown[i], i);
  std::string text = kReference;
  text.replace(text.find("@ADDED@"), 7, added);
  text.replace(text.find("@VOCAB@"), 7, vocab);
  return text;
}

TEST(TokenizerFiles, JsonIsWrittenAsTheReferenceDoes) {
  const ScratchDirectory scratch;
  small().save(scratch.path());
  EXPECT_EQ(read_file(scratch.path() / "tokenizer.json"), reference_json());
}

TEST(TokenizerFiles, EveryFormKeepsVocabularyAndOptions) {
  for (const bool lower : {false, true})
    for (const std::optional<bool> strip : {std::optional<bool>(), std::optional(false), std::optional(true)})
      for (const bool cjk : {false, true})
        for (const std::string removed : {"", "tokenizer.json", "vocab.txt"}) {
          TokenizerOptions options;
          options.lower_case = lower;
          options.strip_accents = strip;
          options.split_cjk = cjk;
          options.model_max_length = 77;
          options.truncation_side = Side::kLeft;
          const ScratchDirectory scratch;
          small(options).save(scratch.path());
          std::filesystem::remove(scratch.path() / (removed.empty() ? "none" : removed));
          const Tokenizer read = Tokenizer::from_directory(scratch.path());
          EXPECT_EQ(read.vocabulary().tokens(), kTokens);
          EXPECT_EQ(read.options().lower_case, lower);
          EXPECT_EQ(read.options().strip_accents, strip);
          EXPECT_EQ(read.options().split_cjk, cjk);
          EXPECT_EQ(read.options().model_max_length, 77);
          EXPECT_EQ(read.options().truncation_side, Side::kLeft);
          EXPECT_EQ(read.options().padding_side, Side::kRight);
        }
}

TEST(TokenizerFiles, BlankLinesAndWindowsLineEndsKeepIds) {
  std::string text;
  for (const std::string& token : kTokens) text += (token == "C" ? "\r\n" + token : token) + "\r\n";
  const ScratchDirectory scratch;
  write_file(scratch.path() / "vocab.txt", text + "\r\n\r\n");
  const Tokenizer read = Tokenizer::from_directory(scratch.path());
  ASSERT_EQ(read.vocabulary().size(), kTokens.size() + 1) << "blank lines at the end are none";
  EXPECT_EQ(read.vocabulary().id("cafe"), 13);
  EXPECT_EQ(read.vocabulary().id("C"), 15);
  EXPECT_EQ(read.vocabulary().id("##af"), 16);
  EXPECT_EQ(read.vocabulary().id(""), -1);
  EXPECT_EQ(read.tokenize("cafe \" \n\n zz").ids, (std::vector<int32_t>{13, 5, 1}));
  const ScratchDirectory saved;
  read.save(saved.path());
  for (const char* removed : {"tokenizer.json", "vocab.txt"}) {
    const ScratchDirectory one;
    read.save(one.path());
    std::filesystem::remove(one.path() / removed);
    const Tokenizer again = Tokenizer::from_directory(one.path());
    EXPECT_EQ(again.vocabulary().id("##af"), 16) << "without " << removed;
    EXPECT_EQ(again.tokenize("[blank 14] [blank").ids, read.tokenize("[blank 14] [blank").ids);
  }
}

TEST(TokenizerFiles, ASequenceOfOneIsThatOne) {
  const ScratchDirectory scratch;
  TokenizerOptions cased;
  cased.lower_case = false;
  small(cased).save(scratch.path());
  std::filesystem::remove(scratch.path() / "tokenizer_config.json");
  const Json plain = parse_json(read_file(scratch.path() / "tokenizer.json"), "x");
  const std::pair<const char*, const char*> parts[] = {
      {"normalizer", "normalizers"}, {"pre_tokenizer", "pretokenizers"}, {"post_processor", "processors"}};
  for (const auto& [key, list] : parts) {
    Json wrapped = plain;
    wrapped[key] = Json{{"type", "Sequence"}, {list, Json::array({plain.at(key)})}};
    write_file(scratch.path() / "tokenizer.json", dump_json(wrapped));
    EXPECT_FALSE(Tokenizer::from_directory(scratch.path()).options().lower_case) << key;
    wrapped[key][list].push_back(plain.at(key));
    write_file(scratch.path() / "tokenizer.json", dump_json(wrapped));
    EXPECT_THROW(Tokenizer::from_directory(scratch.path()), InputError) << "two " << list;
  }
}

TEST(TokenizerFiles, ClassesSayWhichFileCounts) {
  const ScratchDirectory scratch;
  TokenizerOptions cased;
  cased.lower_case = false;
  const auto with = [&](const std::string& config) {
    small(cased).save(scratch.path());
    write_file(scratch.path() / "tokenizer_config.json", config);
    return Tokenizer::from_directory(scratch.path());
  };
  for (const std::string kind : {"PreTrainedTokenizerFast", "TokenizersBackend"}) {
    const Tokenizer json = with(fmt::format(
        R"({{"tokenizer_class": "{}", "do_lower_case": true, "cls_token": "cafe", "padding_side": "left"}})",
        kind));
    EXPECT_FALSE(json.options().lower_case) << kind << " is tokenizer.json alone";
    EXPECT_EQ(json.options().cls, "[CLS]");
    EXPECT_EQ(json.options().padding_side, Side::kLeft);
    Json without = parse_json(read_file(scratch.path() / "tokenizer.json"), "x");
    without["post_processor"] = nullptr;
    write_file(scratch.path() / "tokenizer.json", dump_json(without));
    EXPECT_THROW(Tokenizer::from_directory(scratch.path()), InputError) << "no [CLS] would be added";
    std::filesystem::remove(scratch.path() / "tokenizer.json");
    EXPECT_THROW(Tokenizer::from_directory(scratch.path()), InputError);
  }
  EXPECT_TRUE(with(R"({"tokenizer_class": "BertTokenizer"})").options().lower_case) << "BERT's default";
  EXPECT_TRUE(with("{}").options().lower_case);
  EXPECT_FALSE(with(R"({"do_lower_case": false})").options().lower_case);
  small(cased).save(scratch.path());
  std::filesystem::remove(scratch.path() / "tokenizer_config.json");
  EXPECT_FALSE(Tokenizer::from_directory(scratch.path()).options().lower_case)
      << "nothing speaks for a class";
}

TEST(TokenizerFiles, ConfigWinsOverTokenizerJsonAndOverridesOverBoth) {
  const ScratchDirectory scratch;
  small().save(scratch.path());
  write_file(scratch.path() / "tokenizer_config.json",
             R"({"do_lower_case": false, "model_max_length": 1e30})");
  const Tokenizer cased = Tokenizer::from_directory(scratch.path());
  EXPECT_FALSE(cased.options().lower_case);
  EXPECT_EQ(cased.options().model_max_length, kNoMaxLength);
  EXPECT_EQ(cased.tokenize("Caf\u00e9").ids, (std::vector<int32_t>{14, 15, 11}));
  TokenizerOverrides overrides;
  overrides.lower_case = true;
  EXPECT_EQ(Tokenizer::from_directory(scratch.path(), overrides).tokenize("Caf\u00e9").ids,
            (std::vector<int32_t>{13}));
  overrides.strip_accents = false;
  EXPECT_EQ(Tokenizer::from_path(scratch.path() / "tokenizer.json", overrides).tokenize("Caf\u00e9").ids,
            (std::vector<int32_t>{10, 11}));
  EXPECT_EQ(Tokenizer::from_path(scratch.path() / "vocab.txt", overrides).tokenize("Caf\u00e9").ids,
            (std::vector<int32_t>{10, 11}));
}

TEST(TokenizerFiles, NoLimitIsWrittenAsTheReferenceWritesIt) {
  TokenizerOptions options;
  options.model_max_length = kNoMaxLength;
  const ScratchDirectory scratch;
  small(options).save(scratch.path());
  EXPECT_NE(read_file(scratch.path() / "tokenizer_config.json")
                .find("\"model_max_length\": 1000000000000000019884624838656,"),
            std::string::npos);
  const Tokenizer read = Tokenizer::from_directory(scratch.path());
  EXPECT_EQ(read.options().model_max_length, kNoMaxLength);
  EncodeOptions encode_options;
  encode_options.padding = Padding::kMaxLength;
  EXPECT_THROW(encode(read, {"cafe"}, {}, encode_options), InputError);
  encode_options.padding = Padding::kLongest;
  EXPECT_EQ(encode(read, {"cafe"}, {}, encode_options).features[0].ids, (std::vector<int32_t>{2, 13, 3}));
}

TEST(TokenizerFiles, SpecialTokensComeAsStringsObjectsOrFromTheMap) {
  std::vector<std::string> tokens = kTokens;
  tokens[2] = "<s>";
  tokens[3] = "</s>";
  const ScratchDirectory scratch;
  std::string lines;
  for (const std::string& token : tokens) lines += token + "\n";
  write_file(scratch.path() / "vocab.txt", lines);
  const std::string both = R"({"cls_token": {"content": "<s>", "lstrip": false}, "sep_token": "</s>"})";
  write_file(scratch.path() / "special_tokens_map.json", both);
  EXPECT_EQ(Tokenizer::from_directory(scratch.path()).cls_id(), 2);
  EXPECT_EQ(Tokenizer::from_directory(scratch.path()).tokenize("cafe</s>").ids,
            (std::vector<int32_t>{13, 3}));
  std::filesystem::remove(scratch.path() / "special_tokens_map.json");
  write_file(scratch.path() / "tokenizer_config.json", both);
  EXPECT_EQ(Tokenizer::from_directory(scratch.path()).sep_id(), 3);
}

TEST(TokenizerFiles, OlderJsonWithoutModelTypeAndWithBertProcessing) {
  Json json = parse_json(reference_json(), "reference");
  json["model"].erase("type");
  json["post_processor"] = {
      {"type", "BertProcessing"}, {"sep", Json::array({"[SEP]", 3})}, {"cls", Json::array({"[CLS]", 2})}};
  json.erase("added_tokens");
  const ScratchDirectory scratch;
  write_file(scratch.path() / "tokenizer.json", dump_json(json));
  EXPECT_EQ(Tokenizer::from_directory(scratch.path()).vocabulary().tokens(), kTokens);
}

}  // namespace
}  // namespace qdqbert::text
