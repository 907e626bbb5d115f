#include "qdqbert/io/bert_config.h"

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

#include "tests/support/scratch_directory.h"

namespace qdqbert::io {
namespace {

BertConfig parse(const std::string& text) {
  return parse_config(parse_json(text, "config.json"), "config.json");
}

std::string refusal(const std::string& text) {
  try {
    parse(text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

std::string written(const BertConfig& config) {
  return dump_json(to_json(config), {.final_newline = true});
}

TEST(BertConfigTest, MissingFieldsTakeTheDefaultsOfQdqbert) {
  const BertConfig config = parse("{}");
  EXPECT_EQ(config.vocab_size, 30522);
  EXPECT_EQ(config.pad_token_id, 1);
  EXPECT_EQ(config.bos_token_id, 0);
  EXPECT_EQ(config.eos_token_id, 2);
  EXPECT_EQ(config.num_labels(), 2);
  EXPECT_EQ(config.position_embedding(), PositionEmbedding::kAbsolute);
  EXPECT_FALSE(config.position_embedding_type.has_value());
  EXPECT_TRUE(config.use_return_dict());
  EXPECT_EQ(config.head_size(), 64);
}

TEST(BertConfigTest, WritesTheFreshConfigurationAsTheOriginalDoes) {
  EXPECT_EQ(written(BertConfig()), R"({
  "attention_probs_dropout_prob": 0.1,
  "bos_token_id": 0,
  "eos_token_id": 2,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.1,
  "hidden_size": 768,
  "initializer_range": 0.02,
  "intermediate_size": 3072,
  "layer_norm_eps": 1e-12,
  "max_position_embeddings": 512,
  "model_type": "qdqbert",
  "num_attention_heads": 12,
  "num_hidden_layers": 12,
  "pad_token_id": 1,
  "transformers_version": "4.40.2",
  "type_vocab_size": 2,
  "use_cache": true,
  "vocab_size": 30522
}
)");
}

TEST(BertConfigTest, KeepsWhatItDoesNotKnowAndDropsInheritedDefaults) {
  const BertConfig config =
      parse(R"({"model_type": "bert", "pad_token_id": 0, "zebra": {"b": [1.5, null], "a": 1e-7},
      "classifier_dropout": null, "gradient_checkpointing": false, "position_embedding_type": "absolute",
      "is_decoder": false, "top_k": 50, "max_length": 40, "xla_device": true, "_name_or_path": "somewhere"})");
  EXPECT_EQ(config.model_type, "bert");
  const Json out = to_json(config);
  EXPECT_EQ(out["model_type"], "qdqbert");
  EXPECT_EQ(dump_json(out["zebra"], {.indent = -1}), R"({"a": 1e-07, "b": [1.5, null]})");
  EXPECT_TRUE(out.contains("classifier_dropout"));
  EXPECT_EQ(out["gradient_checkpointing"], false);
  EXPECT_EQ(out["position_embedding_type"], "absolute");
  EXPECT_EQ(out["max_length"], 40);
  EXPECT_EQ(out["_name_or_path"], "somewhere");
  EXPECT_EQ(out["pad_token_id"], 0);
  for (const char* dropped : {"is_decoder", "top_k", "xla_device"})
    EXPECT_FALSE(out.contains(dropped)) << dropped;
  EXPECT_FALSE(to_json(parse(R"({"gradient_checkpointing": true})")).contains("gradient_checkpointing"));
}

TEST(BertConfigTest, LabelsFollowTheMapThenTheCount) {
  EXPECT_EQ(parse(R"({"num_labels": 3})").id2label.at(2), "LABEL_2");
  const BertConfig named =
      parse(R"({"num_labels": 5, "id2label": {"1": "yes", "0": "no"}, "label2id": {"yes": 1, "no": 0}})");
  EXPECT_EQ(named.num_labels(), 2);
  EXPECT_EQ(named.id2label.at(1), "yes");
  BertConfig twelve = parse(R"({"num_labels": 12})");
  const std::string text = written(twelve);
  EXPECT_LT(text.find("\"2\": \"LABEL_2\""), text.find("\"10\": \"LABEL_10\""))
      << "integer keys sort as numbers";
  EXPECT_GT(text.find("\"LABEL_2\": 2"), text.find("\"LABEL_10\": 10")) << "string keys sort as text";
  twelve.set_num_labels(2);
  EXPECT_FALSE(to_json(twelve).contains("id2label"));
  EXPECT_TRUE(to_json(parse(R"({"id2label": {"0": "a"}})"))["label2id"].is_null());
  EXPECT_EQ(parse(written(named)).label2id, named.label2id);
}

TEST(BertConfigTest, LabelsOfEveryType) {
  const auto labels = [](const std::string& maps) {
    const BertConfig config = parse(maps);
    std::string text;
    for (const auto& [id, label] : config.id2label) text += fmt::format("{}={} ", id, label);
    if (config.label2id)
      for (const auto& [label, id] : *config.label2id) text += fmt::format("{}:{} ", label, id);
    return text;
  };
  EXPECT_EQ(labels(R"({"id2label": {"0": 0, "1": 1}, "label2id": {"0": 0, "1": 1}})"), "0=0 1=1 0:0 1:1 ");
  EXPECT_EQ(labels(R"({"id2label": {"0": false, "1": true}})"), "0=false 1=true ");
  EXPECT_EQ(labels(R"({"id2label": {"0": 0.5, "1": "b"}})"), "0=0.5 1=b ");
  EXPECT_EQ(labels(R"({"id2label": {"0": "n", "1": "y"}, "label2id": {"n": "0", "y": "1"}})"),
            "0=n 1=y n:0 y:1 ");
  EXPECT_EQ(labels(R"({"id2label": {"0": "n", "1": "y"}, "label2id": {"0": "n", "1": "y"}})"),
            "0=n 1=y n:0 y:1 ");
  EXPECT_EQ(labels(R"({"id2label": {"0": "x", "1": "x"}, "label2id": {"x": 0}})"), "0=x 1=x x:1 ");
  EXPECT_EQ(labels(R"({"id2label": {"1": "a", "2": "b"}, "label2id": {"a": 1, "b": 2}})"),
            "0=a 1=b a:0 b:1 ");
  EXPECT_EQ(labels(R"({"id2label": {"-1": "a", "10": "c", "9": "b"}})"), "0=a 1=b 2=c ");
  EXPECT_EQ(refusal(R"({"id2label": {"0": ["a"]}})"),
            "[config] config.json: id2label must be an object of texts, found {\"0\": [\"a\"]}");
}

TEST(BertConfigTest, NullTokensStayNull) {
  const BertConfig config = parse(R"({"pad_token_id": null})");
  EXPECT_FALSE(config.pad_token_id.has_value());
  EXPECT_TRUE(to_json(config)["pad_token_id"].is_null());
  EXPECT_EQ(parse(R"({"pad_token_id": -1})").pad_token_id, -1);
}

TEST(BertConfigTest, ReadsPrunedHeadsAndProblemType) {
  const BertConfig config =
      parse(R"({"pruned_heads": {"10": [3, 0, 3], "2": [1]}, "problem_type": "regression"})");
  EXPECT_EQ(config.pruned_heads.at(10), (std::set<int64_t>{0, 3}));
  EXPECT_EQ(config.problem_type, ProblemType::kRegression);
  EXPECT_EQ(dump_json(to_json(config)["pruned_heads"], {.indent = -1}), R"({"2": [1], "10": [0, 3]})");
  EXPECT_EQ(to_json(config)["problem_type"], "regression");
}

TEST(BertConfigTest, PositionTypesAreReadAsSpelled) {
  EXPECT_EQ(parse(R"({"position_embedding_type": "relative_key"})").position_embedding(),
            PositionEmbedding::kRelativeKey);
  EXPECT_EQ(parse(R"({"position_embedding_type": "relative_key_query"})").position_embedding(),
            PositionEmbedding::kRelativeKeyQuery);
  const BertConfig odd = parse(R"({"position_embedding_type": "nonsense"})");
  EXPECT_EQ(odd.position_embedding(), PositionEmbedding::kNone);
  EXPECT_EQ(to_json(odd)["position_embedding_type"], "nonsense");
}

TEST(BertConfigTest, RefusesWithOneSentence) {
  EXPECT_EQ(refusal(R"({"hidden_size": 30, "num_attention_heads": 7})"),
            "[config] config.json: hidden_size 30 is not a multiple of num_attention_heads 7");
  EXPECT_EQ(refusal(R"({"hidden_size": 30, "num_attention_heads": 7, "embedding_size": 30})"), "accepted");
  EXPECT_EQ(refusal(R"({"hidden_act": "selu"})"),
            "[config] config.json: hidden_act \"selu\" is unknown; known are gelu, gelu_10, gelu_accurate, "
            "gelu_fast, gelu_new, gelu_python, gelu_pytorch_tanh, laplace, leaky_relu, linear, mish, "
            "quick_gelu, relu, relu2, relu6, sigmoid, silu, swish, tanh");
  EXPECT_EQ(refusal(R"({"vocab_size": -5})"),
            "[config] config.json: vocab_size must be at least 1, found -5");
  EXPECT_EQ(refusal(R"({"intermediate_size": 0})"),
            "[config] config.json: intermediate_size must be at least 1, found 0");
  EXPECT_EQ(refusal(R"({"num_hidden_layers": 99999999})"),
            "[config] config.json: num_hidden_layers is 99999999, which is above the limit of 4096");
  EXPECT_EQ(refusal(R"({"hidden_size": "768"})"),
            "[config] config.json: hidden_size must be an integer, found \"768\"");
  EXPECT_EQ(refusal(R"({"hidden_size": 1e30})"),
            "[config] config.json: hidden_size must be an integer, found 1e+30");
  EXPECT_EQ(refusal(R"({"layer_norm_eps": NaN})"),
            "[config] config.json: layer_norm_eps must be a number, found \"NaN\"");
  EXPECT_EQ(refusal(R"({"hidden_dropout_prob": 1.5})"),
            "[config] config.json: hidden_dropout_prob must be between 0 and 1, found 1.5");
  EXPECT_EQ(refusal(R"({"pad_token_id": 30522})"),
            "[config] config.json: pad_token_id 30522 is outside the vocabulary of 30522 tokens");
  EXPECT_EQ(refusal(R"({"add_cross_attention": true})"),
            "[config] config.json: add_cross_attention needs is_decoder, which is false");
  EXPECT_EQ(refusal(R"({"problem_type": "nonsense"})"),
            "[config] config.json: problem_type \"nonsense\" is unknown; known are regression, "
            "single_label_classification and multi_label_classification");
  EXPECT_EQ(
      refusal(R"({"model_type": "roberta"})"),
      "[config] config.json: model_type \"roberta\" is not supported, only \"bert\" and \"qdqbert\" are");
  EXPECT_EQ(refusal(R"({"pruned_heads": {"12": [0]}})"),
            "[config] config.json: pruned_heads names layer 12, the model has 12");
  EXPECT_EQ(refusal(R"({"id2label": {"a": "b"}})"),
            "[config] config.json: the keys of id2label must be integers, found \"a\"");
  EXPECT_EQ(refusal("[1]"), "[config] config.json: a JSON object is needed");
}

TEST(BertConfigTest, BuiltinShapes) {
  EXPECT_EQ(builtin_config("bert-base")->num_hidden_layers, 12);
  EXPECT_EQ(builtin_config("bert-large")->hidden_size, 1024);
  EXPECT_EQ(builtin_config("minilm-l6")->hidden_size, 384);
  EXPECT_FALSE(builtin_config("gpt").has_value());
  for (const char* name : {"bert-base", "bert-large", "minilm-l6"}) builtin_config(name)->validate();
}

TEST(BertConfigTest, SurvivesTheDisk) {
  const ScratchDirectory scratch;
  BertConfig config = *builtin_config("minilm-l6");
  config.architectures = {"QDQBertForQuestionAnswering"};
  config.torch_dtype = "float32";
  write_config(scratch / "config.json", config);
  EXPECT_EQ(written(read_config(scratch / "config.json")), read_file(scratch / "config.json"));
  EXPECT_THROW(read_config(scratch / "absent.json"), InputError);
}

}  // namespace
}  // namespace qdqbert::io
