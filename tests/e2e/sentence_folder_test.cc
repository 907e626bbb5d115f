// sentence-transformers' folders through the commands: what their modules say travels into the export and out again.
#include <cmath>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/io/safetensors.h"

#include "tests/e2e/command.h"
#include "tests/e2e/tiny_model.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;
using testing::CommandResult;
using ::testing::HasSubstr;
using testing::run_command;
using testing::ScratchDirectory;
using Flags = std::vector<std::string>;
using Vectors = std::vector<std::vector<double>>;

constexpr size_t kHidden = 32, kOut = 8;

class SentenceFolder : public ::testing::Test {
 protected:
  SentenceFolder() : folder_(scratch_ / "folder") {
    const auto model = model::make_model("QDQBertModel", testing::tiny_config(), {});
    model->init_weights(7);
    fs::create_directories(folder_);
    model::save_model(*model, folder_);
    text::Tokenizer::from_directory(testing::kShippedModel).save(folder_);
    modules({"Transformer", "Pooling", "Dense", "Normalize"});
    put("1_Pooling/config.json", R"({"word_embedding_dimension": 32, "pooling_mode_cls_token": true,
                                     "pooling_mode_max_tokens": true, "include_prompt": false})");
    put("2_Dense/config.json", R"({"in_features": 64, "out_features": 8, "bias": true,
                                   "activation_function": "torch.nn.modules.activation.Tanh"})");
    std::vector<float> weight(kOut * 2 * kHidden), bias(kOut, 0.25f);
    for (size_t i = 0; i < weight.size(); ++i)
      weight[i] = static_cast<float>(std::sin(static_cast<double>(i)));
    const auto bytes = [](const std::vector<float>& values) { return std::as_bytes(std::span(values)); };
    io::write_safetensors(
        fs::path(folder_) / "2_Dense/model.safetensors",
        std::vector<io::NamedTensor>{{"linear.weight", {DType::kF32, {kOut, 2 * kHidden}, bytes(weight)}},
                                     {"linear.bias", {DType::kF32, {kOut}, bytes(bias)}}});
    put("sentence_bert_config.json", R"({"max_seq_length": 12, "do_lower_case": false})");
    put("config_sentence_transformers.json",
        R"({"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": null})");
    put("rows.jsonl", "{\"id\":3,\"text\":\"the cat sat\"}\n{\"id\":4,\"text\":\"\"}\n" +
                          dump_json({{"id", 5},
                                     {"text", std::string("many words stand here ") +
                                                  "and more of them than twelve tokens can hold"}},
                                    {-1}));
  }

  void put(const std::string& name, const std::string& text) const {
    fs::create_directories((fs::path(folder_) / name).parent_path());
    write_file(fs::path(folder_) / name, text);
  }
  void modules(const std::vector<std::string>& kinds) const {
    Json list = Json::array();
    for (size_t i = 0; i < kinds.size(); ++i)
      list.push_back({{"idx", i},
                      {"name", std::to_string(i)},
                      {"path", i == 0 ? "" : fmt::format("{}_{}", i, kinds[i])},
                      {"type", "sentence_transformers.models." + kinds[i]}});
    put("modules.json", dump_json(list));
  }

  CommandResult embed(const std::string& model, const std::string& output, const Flags& flags = {}) const {
    Flags words = {
        "embed",       "--model_name_or_path", model,         "--output_dir",          scratch_ / output,
        "--save_onnx", "--do_predict",         "--test_file", folder_ + "/rows.jsonl", "--threads",
        "1",           "--quant-disable"};
    words.insert(words.end(), flags.begin(), flags.end());
    return run_command(words);
  }
  CommandResult predict(const std::string& output, const Flags& flags = {}) const {
    Flags words = {"predict", scratch_ / output, "--precision", "fp32"};
    words.insert(words.end(), flags.begin(), flags.end());
    testing::CommandOptions options;
    options.input = read_file(folder_ + "/rows.jsonl");
    return run_command(words, options);
  }
  static Vectors vectors_of(const std::string& lines) {
    Vectors vectors;
    for (size_t begin = 0; begin < lines.size();) {
      const size_t end = lines.find('\n', begin);
      const Json line = parse_json(lines.substr(begin, end - begin), "a line");
      vectors.push_back(line.at("embedding"));
      begin = end + 1;
    }
    return vectors;
  }
  Vectors written(const std::string& output) const {
    return vectors_of(read_file(scratch_.path() / output / "predict_embeddings.jsonl"));
  }
  static void expect_near(const Vectors& a, const Vectors& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_EQ(a[i].size(), b[i].size());
      for (size_t j = 0; j < a[i].size(); ++j) EXPECT_NEAR(a[i][j], b[i][j], 1e-5) << i << ", " << j;
    }
  }

  ScratchDirectory scratch_;
  std::string folder_;
};

TEST_F(SentenceFolder, TravelsIntoTheExportAndOutAgain) {
  const CommandResult made = embed(folder_, "one");
  ASSERT_EQ(made.code, 0) << made.err;
  const Vectors fake = written("one");
  ASSERT_EQ(fake.size(), 3u);
  for (const auto& vector : fake) {
    EXPECT_EQ(vector.size(), kOut);
    double square = 0;
    for (const double value : vector) square += value * value;
    EXPECT_NEAR(square, 1, 1e-5);
  }
  const CommandResult answered = predict("one");
  ASSERT_EQ(answered.code, 0) << answered.err;
  expect_near(vectors_of(answered.out), fake);
  EXPECT_THAT(answered.out, HasSubstr("\"truncated\": true")) << "12 tokens are the folder's own limit";
  const Json config = read_json(scratch_.path() / "one/config.json");
  EXPECT_EQ(config["model_type"], "bert") << "which sentence-transformers knows";
  ASSERT_EQ(embed(scratch_ / "one", "two").code, 0);
  EXPECT_EQ(written("two"), fake) << "the export is such a folder again";
  for (const char* name :
       {"modules.json", "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors",
        "sentence_bert_config.json", "config_sentence_transformers.json"})
    EXPECT_EQ(read_file(scratch_.path() / "two" / name), read_file(scratch_.path() / "one" / name)) << name;
}

TEST_F(SentenceFolder, PromptsByName) {
  ASSERT_EQ(embed(folder_, "named", {"--prompt_name", "query"}).code, 0);
  const CommandResult answered = predict("named", {"--prompt_name", "query"});
  ASSERT_EQ(answered.code, 0) << answered.err;
  expect_near(vectors_of(answered.out), written("named"));
  EXPECT_NE(vectors_of(answered.out), vectors_of(predict("named").out));
  const CommandResult unknown = predict("named", {"--prompt_name", "title"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("passage, query"));
}

TEST_F(SentenceFolder, OldReleasesKeepTheEncoderInAFolder) {
  ASSERT_EQ(embed(folder_, "flat").code, 0);
  fs::create_directories(fs::path(folder_) / "0_Transformer");
  for (const char* name : {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json",
                           "tokenizer.json", "special_tokens_map.json", "sentence_bert_config.json"})
    fs::rename(fs::path(folder_) / name, fs::path(folder_) / "0_Transformer" / name);
  Json list = read_json(fs::path(folder_) / "modules.json");
  list[0]["path"] = "0_Transformer";
  put("modules.json", dump_json(list));
  const CommandResult made = embed(folder_, "nested");
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(written("nested"), written("flat"));
}

TEST_F(SentenceFolder, WhatIsNotKnownIsRefusedByName) {
  const auto refused = [&](const std::string& words) {
    const CommandResult result = embed(folder_, "refused");
    EXPECT_EQ(result.code, 2) << words;
    EXPECT_THAT(result.err, HasSubstr(words));
  };
  put("sentence_bert_config.json", R"({"max_seq_length": "long"})");
  refused("max_seq_length");
  put("sentence_bert_config.json", "{}");
  put("2_Dense/config.json",
      R"({"in_features": 64, "out_features": 8, "activation_function": "torch.nn.modules.activation.Softsign"})");
  refused("Softsign");
  put("2_Dense/config.json", R"({"in_features": 63, "out_features": 8})");
  refused("linear.weight has the shape [8, 64]");
  put("2_Dense/config.json", R"({"in_features": 64, "out_features": 8})");
  put("1_Pooling/config.json", R"({"pooling_mode": "median"})");
  refused("median");
  put("1_Pooling/config.json", R"({"pooling_mode": "mean"})");
  refused("a dense layer takes 64 numbers");
  modules({"Transformer", "WeightedLayerPooling", "Pooling"});
  refused("WeightedLayerPooling");
  modules({"CLIPModel", "Pooling"});
  refused("CLIPModel");
  modules({"Transformer"});
  refused("no Pooling");
  put("config_sentence_transformers.json", R"({"prompts": {"query": 3}})");
  refused("query");
}

}  // namespace
}  // namespace qdqbert
