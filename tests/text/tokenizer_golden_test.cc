#include <gtest/gtest.h>

#include "qdqbert/base/utf8.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/text/encoding.h"

#include "tests/support/digest.h"
#include "tests/support/golden.h"
#include "tests/text/golden_config.h"

namespace qdqbert::text {
namespace {

using testing::find_data;
using testing::golden_dir;
using testing::GoldenFamily;
using testing::GoldenSkip;
using testing::read_json_lines;

std::vector<std::filesystem::path> files_with_prefix(const std::string& prefix) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(golden_dir() / "tokenizer"))
    if (entry.path().filename().string().starts_with(prefix)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

/// "encode-uncased-nocjk.jsonl.gz" -> "uncased-nocjk"
std::string config_of(const std::filesystem::path& file, const std::string& prefix) {
  const std::string name = file.filename().string();
  return name.substr(prefix.size(), name.find('.') - prefix.size());
}

std::map<int, std::string> lines() {
  std::map<int, std::string> texts;
  for (const Json& line : read_json_lines(golden_dir() / "tokenizer/lines.jsonl"))
    texts[line["i"]] = line["text"];
  return texts;
}

Json offsets_json(const std::vector<Offset>& offsets) {
  Json out = Json::array();
  for (const Offset& o : offsets) out.push_back({o.begin, o.end});
  return out;
}

void expect_feature(const Encoding& got, const Json& want) {
  EXPECT_EQ(Json(got.ids), want["ids"]);
  if (want.contains("type_ids")) {
    EXPECT_EQ(Json(got.type_ids), want["type_ids"]);
  }
  if (want.contains("mask")) {
    EXPECT_EQ(Json(got.attention_mask), want["mask"]);
  }
  if (want.contains("special")) {
    EXPECT_EQ(Json(got.special_tokens_mask), want["special"]);
  }
  EXPECT_EQ(offsets_json(got.offsets), want["offsets"]);
  const auto nullable = [](const auto& values) {
    Json out = Json::array();
    for (const auto v : values) out.push_back(v < 0 ? Json() : Json(v));
    return out;
  };
  if (want.contains("seq")) {
    EXPECT_EQ(nullable(got.sequence_ids), want["seq"]);
  }
  if (want.contains("word_ids")) {
    EXPECT_EQ(nullable(got.word_ids), want["word_ids"]);
  }
}

TEST(TokenizerGolden, Encode) {
  GoldenFamily family("tokenizer-encode");
  const auto texts = lines();
  for (const auto& file : files_with_prefix("encode-")) {
    const std::string config = config_of(file, "encode-");
    for (const Json& want : read_json_lines(file))
      family.run(fmt::format("{}/{}", config, want["i"].get<int>()), [&] {
        const Tokenizer& tokenizer = golden_tokenizer(config);
        const Encoding got = encode(tokenizer, {texts.at(want["i"])}, {}, {}).features[0];
        expect_feature(got, want);
        Json tokens = Json::array();
        for (const int32_t id : got.ids) tokens.push_back(std::string(tokenizer.vocabulary().token(id)));
        EXPECT_EQ(tokens, want["tokens"]);
      });
  }
}

TEST(TokenizerGolden, Stages) {
  GoldenFamily family("tokenizer-stages");
  const auto texts = lines();
  for (const auto& file : files_with_prefix("stages-"))
    for (const Json& want : read_json_lines(file))
      family.run(fmt::format("{}/{}", config_of(file, "stages-"), want["i"].get<int>()), [&] {
        const std::vector<char32_t> chars = decode_utf8(texts.at(want["i"]));
        std::vector<NormalizedChar> normalized;
        normalize(chars.data(), chars.size(), 0,
                  golden_tokenizer(config_of(file, "stages-")).normalizer_options(), normalized);
        const auto text_of = [&](size_t begin, size_t end) {
          std::string text;
          for (size_t i = begin; i < end; ++i) append_utf8(normalized[i].value, text);
          return text;
        };
        EXPECT_EQ(text_of(0, normalized.size()), want["normalized"].get<std::string>());
        std::vector<Offset> words;
        split_words(normalized, words);
        Json pieces = Json::array();
        for (const Offset& w : words) pieces.push_back({text_of(w.begin, w.end), w.begin, w.end});
        EXPECT_EQ(pieces, want["pieces"]);
      });
}

TEST(TokenizerGolden, SlowDiffers) {
  GoldenFamily family("tokenizer-slow-differs");
  const auto texts = lines();
  for (const Json& want : read_json_lines(golden_dir() / "tokenizer/slow-differs.jsonl"))
    family.run(fmt::format("{}/{}", want["config"].get<std::string>(), want["i"].get<int>()), [&] {
      const Tokenizer& tokenizer = golden_tokenizer(want["config"]);
      Json tokens = Json::array();
      for (const int32_t id : tokenizer.tokenize(texts.at(want["i"])).ids)
        tokens.push_back(std::string(tokenizer.vocabulary().token(id)));
      EXPECT_EQ(tokens, want["fast"]);
    });
}

std::vector<std::string> strings(const Json& value) {
  if (value.is_null()) return {};
  if (value.is_string()) return {value.get<std::string>()};
  return value.get<std::vector<std::string>>();
}

EncodeOptions options_of(const Json& json) {
  EncodeOptions options;
  for (const auto& [key, value] : json.items()) {
    if (key == "truncation") {
      const std::string name = value.is_string()   ? value.get<std::string>()
                               : value.get<bool>() ? "longest_first"
                                                   : "none";
      options.truncation = name == "only_first"      ? Truncation::kOnlyFirst
                           : name == "only_second"   ? Truncation::kOnlySecond
                           : name == "longest_first" ? Truncation::kLongestFirst
                                                     : Truncation::kNone;
    } else if (key == "padding") {
      const std::string name = value.is_string()   ? value.get<std::string>()
                               : value.get<bool>() ? "longest"
                                                   : "none";
      options.padding = name == "max_length" ? Padding::kMaxLength
                        : name == "longest"  ? Padding::kLongest
                                             : Padding::kNone;
    } else if (key == "max_length") {
      options.max_length = value.get<int>();
    } else if (key == "stride") {
      options.stride = value;
    } else if (key == "return_overflowing_tokens") {
      options.return_overflow = value;
    } else if (key == "pad_to_multiple_of") {
      if (!value.is_null()) options.pad_to_multiple_of = value.get<int>();
    } else {
      fail("[golden] unknown option {}", key);
    }
  }
  return options;
}

TEST(TokenizerGolden, Pairs) {
  GoldenFamily family("tokenizer-pairs");
  for (const Json& want : read_json_lines(golden_dir() / "tokenizer/pairs.jsonl.gz"))
    family.run(std::to_string(want["i"].get<int>()), [&] {
      if (want.contains("quirk")) throw GoldenSkip{"quirk"};
      const auto side = [&](const char* key) {
        return want.contains("tokenizer") && want["tokenizer"].value(key, "right") == std::string("left")
                   ? Side::kLeft
                   : Side::kRight;
      };
      const Tokenizer& tokenizer =
          golden_tokenizer(want["config"], side("truncation_side"), side("padding_side"));
      const EncodeOptions options = options_of(want["options"]);
      if (want.contains("error")) {
        EXPECT_THROW(encode(tokenizer, strings(want["a"]), strings(want["b"]), options), InputError);
        return;
      }
      const Batch got = encode(tokenizer, strings(want["a"]), strings(want["b"]), options, 2);
      ASSERT_EQ(got.features.size(), want["features"].size());
      for (size_t f = 0; f < got.features.size(); ++f) expect_feature(got.features[f], want["features"][f]);
      if (want.contains("sample")) {
        EXPECT_EQ(Json(got.sample), want["sample"]);
      }
    });
}

TEST(TokenizerGolden, Words) {
  GoldenFamily family("tokenizer-words");
  for (const Json& want : read_json_lines(golden_dir() / "tokenizer/words.jsonl"))
    family.run(std::to_string(want["i"].get<int>()), [&] {
      const Batch got =
          encode_words(golden_tokenizer(want["config"]), strings(want["words"]),
                       want.contains("words_b") ? strings(want["words_b"]) : std::vector<std::string>{},
                       options_of(want["options"]));
      ASSERT_EQ(got.features.size(), want["features"].size());
      for (size_t f = 0; f < got.features.size(); ++f) expect_feature(got.features[f], want["features"][f]);
    });
}

TEST(TokenizerGolden, Decode) {
  GoldenFamily family("tokenizer-decode");
  for (const Json& want : read_json_lines(golden_dir() / "tokenizer/decode.jsonl"))
    family.run(std::to_string(want["i"].get<int>()), [&] {
      for (const bool skip : {false, true})
        for (const bool clean : {false, true})
          EXPECT_EQ(golden_tokenizer(want["config"]).decode(want["ids"], skip, clean),
                    want[fmt::format("skip={:d},clean={:d}", skip, clean)].get<std::string>());
    });
}

/// [n, ids..., begin0, end0, ...] as int32, the bytes behind every digest.
std::vector<int32_t> digest_words(const Tokens& tokens) {
  std::vector<int32_t> words{static_cast<int32_t>(tokens.size())};
  words.insert(words.end(), tokens.ids.begin(), tokens.ids.end());
  for (const Offset& o : tokens.offsets) {
    words.push_back(static_cast<int32_t>(o.begin));
    words.push_back(static_cast<int32_t>(o.end));
  }
  return words;
}

TEST(TokenizerGolden, CodepointBlocks) {
  GoldenFamily family("tokenizer-codepoint-blocks");
  const io::SafetensorsFile file =
      io::SafetensorsFile::open(golden_dir() / "tokenizer/codepoint-blocks.safetensors");
  for (const std::string& config : file.names())
    family.run(config, [&] {
      const std::vector<int64_t> want = to_int64(file.at(config));
      const Tokenizer& tokenizer = golden_tokenizer(config);
      Tokens tokens;
      for (size_t block = 0; block < want.size(); ++block) {
        int32_t crc = 0;
        for (char32_t c = static_cast<char32_t>(block) * 256; c < (block + 1) * 256; ++c) {
          if (c >= 0xd800 && c < 0xe000) continue;
          std::string text = "a";
          append_utf8(c, text);
          text += "b ";
          append_utf8(c, text);
          tokens.ids.clear();
          tokens.offsets.clear();
          tokenizer.tokenize(text, tokens);
          const std::vector<int32_t> words = digest_words(tokens);
          crc = testing::crc32_of(words.data(), words.size() * sizeof(int32_t), crc);
        }
        ASSERT_EQ(crc, want[block]) << fmt::format("block U+{:04X}", block * 256);
      }
    });
}

std::vector<std::string> texts_of(const Json& squad, const std::string& kind) {
  std::vector<std::string> texts;
  for (const Json& article : squad["data"])
    for (const Json& paragraph : article["paragraphs"]) {
      if (kind == "contexts") texts.push_back(paragraph["context"]);
      if (kind == "questions")
        for (const Json& qa : paragraph["qas"]) texts.push_back(qa["question"]);
    }
  return texts;
}

TEST(TokenizerGolden, Bulk) {
  GoldenFamily family("tokenizer-bulk");
  const io::SafetensorsFile digests = io::SafetensorsFile::open(golden_dir() / "tokenizer/bulk.safetensors");
  std::map<std::string, Json> sets;
  for (const Json& want : read_json_lines(golden_dir() / "tokenizer/bulk.jsonl")) {
    const std::string set = want["set"], kind = want["kind"], config = want["config"];
    family.run(set + "/" + kind + "/" + config, [&] {
      const auto path = find_data(set);
      if (!path) throw GoldenSkip{"absent data set " + set};
      if (!sets.contains(set)) sets[set] = read_json(*path);
      const Tokenizer& tokenizer = golden_tokenizer(config);
      const std::string prefix = set + "." + kind + "." + config;
      const TensorView* crcs = digests.find(prefix + ".crc");
      const std::vector<int64_t> want_crc = crcs ? to_int64(*crcs) : std::vector<int64_t>{};
      testing::Sha1 sha1;
      size_t total = 0, unk = 0, index = 0;
      for (const std::string& text : texts_of(sets[set], kind)) {
        const Tokens tokens = tokenizer.tokenize(text);
        const std::vector<int32_t> words = digest_words(tokens);
        sha1.update(words.data(), words.size() * sizeof(int32_t));
        total += tokens.size();
        unk += static_cast<size_t>(std::count(tokens.ids.begin(), tokens.ids.end(), tokenizer.unk_id()));
        if (crcs) {
          ASSERT_EQ(testing::crc32_of(words.data(), words.size() * sizeof(int32_t)), want_crc[index]) << text;
        }
        ++index;
      }
      EXPECT_EQ(index, want["texts"].get<size_t>());
      EXPECT_EQ(total, want["tokens"].get<size_t>());
      EXPECT_EQ(unk, want["unk"].get<size_t>());
      EXPECT_EQ(sha1.hex(), want["sha1"].get<std::string>());
    });
  }
}

}  // namespace
}  // namespace qdqbert::text
