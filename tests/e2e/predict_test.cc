// predict for the tasks that config.json names, as scripts use it.
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "qdqbert/base/utf8.h"
#include "qdqbert/onnx/reader.h"
#include "qdqbert/text/encoding.h"

#include "tests/e2e/command.h"
#include "tests/e2e/engine_model.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert {
namespace {

using onnx::GraphHead;
using testing::CommandOptions;
using testing::CommandResult;
using ::testing::HasSubstr;
using testing::json_lines;
using testing::run_command;

constexpr JsonStyle kLine{-1, false, false, true};

class Predict : public ::testing::Test {
 protected:
  Predict() : tokenizer_(text::Tokenizer::from_directory(testing::kShippedTokenizer)) {
    for (const testing::Question& q : testing::real_questions(6)) {
      texts_.push_back(q.question);
      contexts_.push_back(q.context);
    }
  }

  /// A model whose config.json names `class_name` and what `more` says.
  std::string model(GraphHead head, const std::string& class_name, Json more = Json::object()) {
    const std::filesystem::path directory = scratch_.path() / class_name;
    testing::write_engine_model(directory, head, true, class_name == "QDQBertLMHeadModel");
    Json config = {{"architectures", Json::array({class_name})}};
    config.update(more);
    write_file(directory / "config.json", dump_json(config));
    return directory;
  }

  static CommandResult run(std::vector<std::string> words, const std::string& input, int code = 0) {
    CommandOptions options;
    options.input = input;
    words.insert(words.begin(), "predict");
    CommandResult result = run_command(words, options);
    EXPECT_EQ(result.code, code) << result.err;
    return result;
  }

  static std::vector<Json> answers(const std::string& model, const std::vector<Json>& requests,
                                   const std::vector<std::string>& flags = {}) {
    std::string input;
    for (const Json& request : requests) input += dump_json(request, kLine);
    std::vector<std::string> words = {model};
    words.insert(words.end(), flags.begin(), flags.end());
    return json_lines(run(words, input).out);
  }

  /// Values of the output `name` for one encoded text, by --raw.
  std::vector<double> raw(const std::string& model, const text::Encoding& text, const char* name) const {
    const std::string line = dump_json({{"input_ids", text.ids}, {"token_type_ids", text.type_ids}}, kLine);
    const Json answer = json_lines(run({model, "--raw"}, line).out).at(0);
    return answer.at("outputs").at(name).at("values").get<std::vector<double>>();
  }
  text::Encoding encode(const std::string& text, const std::string& pair = "") const {
    std::vector<std::string> pairs;
    if (!pair.empty()) pairs.push_back(pair);
    return text::encode(tokenizer_, {text}, pairs, {}).features.at(0);
  }

  static std::vector<double> softmax(std::vector<double> values) {
    const double highest = *std::max_element(values.begin(), values.end());
    for (double& value : values) value = std::exp(value - highest);
    const double sum = std::accumulate(values.begin(), values.end(), 0.0);
    for (double& value : values) value /= sum;
    return values;
  }

  ScratchDirectory scratch_;
  text::Tokenizer tokenizer_;
  std::vector<std::string> texts_, contexts_;
};

TEST_F(Predict, ClassifiesWithTheLabelsOfTheConfiguration) {
  const std::string dir = model(GraphHead::kSequenceClassification, "QDQBertForSequenceClassification",
                                {{"id2label", {{"0", "calm"}, {"1", "angry"}}}});
  std::vector<Json> requests;
  for (size_t i = 0; i < texts_.size(); ++i)
    requests.push_back({{"id", i}, {"text", texts_[i]}, {"text_pair", contexts_[i].substr(0, 60)}});
  const std::vector<Json> found = answers(dir, requests);
  ASSERT_EQ(found.size(), requests.size());
  for (size_t i = 0; i < found.size(); ++i) {
    const auto scores = softmax(raw(dir, encode(texts_[i], contexts_[i].substr(0, 60)), "logits"));
    const size_t best = scores[1] > scores[0] ? 1 : 0;
    EXPECT_EQ(found[i].at("id"), i);
    EXPECT_EQ(found[i].at("label"), best == 0 ? "calm" : "angry");
    EXPECT_NEAR(found[i].at("score").get<double>(), scores[best], 1e-6);
    EXPECT_EQ(found[i].at("scores").size(), 2U);
    EXPECT_FALSE(found[i].contains("truncated"));
  }
  EXPECT_EQ(answers(dir, requests, {"--tokens_per_batch", "1", "--threads", "1"}), found);
  EXPECT_EQ(
      answers(dir, {{{"sentence1", texts_[0]}, {"sentence2", contexts_[0].substr(0, 60)}}})[0].at("scores"),
      found[0].at("scores"));
  const CommandResult one = run({dir, "--text", texts_[0], "--text_pair", contexts_[0].substr(0, 60)}, "");
  EXPECT_THAT(one.out, ::testing::StartsWith(found[0].at("label").get<std::string>() + "\n  "));
  const std::vector<Json> cut = answers(dir, {{{"text", contexts_[0]}}}, {"--max_seq_length", "16"});
  EXPECT_EQ(cut[0].at("truncated"), true);
}

TEST_F(Predict, IndependentLabelsAndRegression) {
  const std::string several = model(GraphHead::kSequenceClassification, "BertForSequenceClassification",
                                    {{"problem_type", "multi_label_classification"}});
  const std::vector<double> logits = raw(several, encode(texts_[0]), "logits");
  const Json all = answers(several, {{{"text", texts_[0]}}}, {"--threshold", "0"})[0];
  EXPECT_EQ(all.at("labels").size(), 2U);
  for (const Json& item : all.at("scores")) {
    const size_t i = item.at("label") == "LABEL_0" ? 0 : 1;
    EXPECT_NEAR(item.at("score").get<double>(), 1 / (1 + std::exp(-logits[i])), 1e-6);
  }
  EXPECT_EQ(answers(several, {{{"text", texts_[0]}}}, {"--threshold", "1"})[0].at("labels").size(), 0U);
  const std::string numbers = model(GraphHead::kSequenceClassification, "BertForSequenceClassification",
                                    {{"problem_type", "regression"}, {"id2label", {{"0", "x"}, {"1", "y"}}}});
  EXPECT_NEAR(answers(numbers, {{{"text", texts_[0]}}})[0].at("values").at("y").get<double>(), logits[1],
              1e-6);
}

TEST_F(Predict, EntitiesHaveTheirPlaceInTheText) {
  const std::string dir = model(GraphHead::kTokenClassification, "QDQBertForTokenClassification",
                                {{"id2label", {{"0", "O"}, {"1", "B-x"}}}});
  for (const std::string& text : {contexts_[0], std::string("Ünï ist 日本 naïve")}) {
    const Json found = answers(dir, {{{"id", "a"}, {"text", text}}})[0];
    const CodePointIndex index(text);
    uint32_t last = 0;
    for (const Json& entity : found.at("entities")) {
      const auto begin = entity.at("start").get<uint32_t>(), end = entity.at("end").get<uint32_t>();
      EXPECT_EQ(index.slice(begin, end), entity.at("text").get<std::string>());
      EXPECT_EQ(entity.at("entity"), "x");
      EXPECT_GE(begin, last);
      last = end;
    }
  }
  // A text of many windows is as one of a single window where the model sees the same. Here: no more than
  // that words are found up to the end of the text.
  std::string longer;
  for (int i = 0; i < 6; ++i) longer += contexts_[0] + " ";
  const Json found = answers(dir, {{{"text", longer}}}, {"--max_seq_length", "32"})[0];
  ASSERT_GT(found.at("entities").size(), 0U);
  EXPECT_GT(found.at("entities").back().at("end").get<size_t>(), count_code_points(longer) * 3 / 4);
}

TEST_F(Predict, ChoicesAreRanked) {
  const std::string dir = model(GraphHead::kMultipleChoice, "QDQBertForMultipleChoice");
  const std::vector<std::string> three = {texts_[1], texts_[2], texts_[3]}, two = {texts_[4], texts_[5]};
  const std::vector<Json> found =
      answers(dir, {{{"text", texts_[0]}, {"choices", three}}, {{"text", texts_[0]}, {"choices", two}}});
  ASSERT_EQ(found.size(), 2U);
  const Json of_training = {{"prompt", texts_[0]}, {"choices", three}, {"answer", 1}};
  EXPECT_EQ(answers(dir, {of_training})[0].at("scores"), found[0].at("scores"));
  std::vector<double> logits;
  for (const std::string& choice : three)
    logits.push_back(raw(dir, encode(texts_[0], choice), "logits").at(0));
  const std::vector<double> scores = softmax(logits);
  const auto best = static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  EXPECT_EQ(found[0].at("choice"), best);
  EXPECT_EQ(found[0].at("text"), three[best]);
  EXPECT_NEAR(found[0].at("scores")[0].at("score").get<double>(), scores[best], 1e-6);
  EXPECT_EQ(found[1].at("scores").size(), 2U);
  const CommandResult one = run({dir, "--text", texts_[0], "--choices", three[0], three[1], three[2]}, "");
  EXPECT_THAT(one.out, ::testing::StartsWith(three[best] + "\n"));
}

TEST_F(Predict, MasksAreFilled) {
  const std::string dir = model(GraphHead::kLanguageModel, "QDQBertForMaskedLM");
  const std::string text = "the [MASK] of the city is [MASK] .";
  const Json found = answers(dir, {{{"text", text}}}, {"--top_k", "3"})[0];
  ASSERT_EQ(found.at("masks").size(), 2U);
  const text::Encoding encoded = encode(text);
  const std::vector<double> logits = raw(dir, encoded, "logits");
  const size_t words = tokenizer_.vocabulary().size();
  size_t mask = 0;
  for (size_t t = 0; t < encoded.ids.size(); ++t) {
    if (encoded.ids[t] != tokenizer_.mask_id()) continue;
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>(t * words);
    const auto best = std::max_element(row, row + static_cast<std::ptrdiff_t>(words)) - row;
    const Json& fillers = found.at("masks")[mask++];
    ASSERT_EQ(fillers.size(), 3U);
    EXPECT_EQ(fillers[0].at("id"), best);
    EXPECT_GE(fillers[0].at("score").get<double>(), fillers[1].at("score").get<double>());
    EXPECT_THAT(fillers[0].at("text").get<std::string>(), HasSubstr("of the city is"));
  }
}

TEST_F(Predict, NextSentence) {
  const std::string dir = model(GraphHead::kNextSentence, "QDQBertForNextSentencePrediction");
  const Json found = answers(dir, {{{"text", texts_[0]}, {"text_pair", texts_[1]}}})[0];
  const double score = softmax(raw(dir, encode(texts_[0], texts_[1]), "logits"))[0];
  EXPECT_NEAR(found.at("score").get<double>(), score, 1e-6);
  EXPECT_EQ(found.at("is_next"), score >= 0.5);
}

TEST_F(Predict, EmbeddingsAreMeansOfLengthOne) {
  const std::string dir = model(GraphHead::kBase, "QDQBertModel");
  std::vector<Json> requests;
  for (const std::string& text : texts_) requests.push_back({{"text", text}});
  const std::vector<Json> found = answers(dir, requests);
  const text::Encoding encoded = encode(texts_[2]);
  const std::vector<double> states = raw(dir, encoded, "last_hidden_state");
  const size_t width = states.size() / encoded.ids.size();
  std::vector<double> mean(width, 0.0);
  for (size_t i = 0; i < states.size(); ++i)
    mean[i % width] += states[i] / static_cast<double>(encoded.ids.size());
  const double length = std::sqrt(std::inner_product(mean.begin(), mean.end(), mean.begin(), 0.0));
  const auto embedding = found.at(2).at("embedding").get<std::vector<double>>();
  ASSERT_EQ(embedding.size(), width);
  for (size_t j = 0; j < width; ++j) EXPECT_NEAR(embedding[j], mean[j] / length, 1e-6);
  const Json plain = answers(dir, {{{"text", texts_[2]}}}, {"--no_normalize"})[0];
  EXPECT_NEAR(plain.at("embedding")[0].get<double>(), mean[0], 1e-6);
  const Json first = answers(dir, {{{"text", texts_[2]}}}, {"--pooling", "first", "--no_normalize"})[0];
  EXPECT_NEAR(first.at("embedding")[1].get<double>(), states[1], 1e-6);
  EXPECT_EQ(answers(dir, requests, {"--tokens_per_batch", "1", "--threads", "1"}), found);
}

TEST_F(Predict, EmbeddingsOfOutputsAsSentenceTransformersNamesThem) {
  const std::string dir = model(GraphHead::kBase, "QDQBertModel");
  const Json expected = answers(dir, {{{"text", texts_[2]}}})[0];
  const auto renamed = [&](const std::string& of, const std::string& from, const std::string& to) {
    const std::filesystem::path directory = scratch_.path() / to;
    std::filesystem::copy(of, directory);
    std::filesystem::remove(directory / "config.json");
    onnx::Model file = onnx::read_model(directory / "model.onnx");
    auto& graph = *file.proto().mutable_graph();
    for (auto& node : *graph.mutable_node())
      for (auto& output : *node.mutable_output())
        if (output == from) output = to;
    for (auto& node : *graph.mutable_node())
      for (auto& input : *node.mutable_input())
        if (input == from) input = to;
    for (auto& output : *graph.mutable_output())
      if (output.name() == from) output.set_name(to);
    onnx::write_model(file, directory / "model.onnx");
    return directory.string();
  };
  const std::string tokens = renamed(dir, "last_hidden_state", "token_embeddings");
  EXPECT_EQ(answers(tokens, {{{"text", texts_[2]}}})[0], expected);
  const std::string pooled =
      renamed(model(GraphHead::kSequenceClassification, "QDQBertForSequenceClassification"), "logits",
              "sentence_embedding");
  const std::vector<double> vector = raw(pooled, encode(texts_[2]), "sentence_embedding");
  const double length = std::sqrt(std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0));
  const auto second = [&](const std::vector<std::string>& flags) {
    const Json answer = answers(pooled, {{{"text", texts_[2]}}}, flags)[0];
    EXPECT_EQ(answer.at("embedding").size(), vector.size());
    return answer.at("embedding")[1].get<double>();
  };
  EXPECT_NEAR(second({}), vector[1] / length, 1e-6);
  EXPECT_NEAR(second({"--normalize", "false"}), vector[1], 1e-6) << "as the graph gives it";
  // With modules.json its Normalize, if there is one, is in the graph.
  write_file(std::filesystem::path(pooled) / "modules.json",
             R"([{"path": "", "type": "sentence_transformers.models.Transformer"},
                 {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])");
  EXPECT_NEAR(second({}), vector[1], 1e-6);
  EXPECT_NEAR(second({"--normalize", "true"}), vector[1] / length, 1e-6);
}

TEST_F(Predict, GeneratesWithTheCacheWhatItGeneratesWithout) {
  const std::string dir = model(GraphHead::kLanguageModel, "QDQBertLMHeadModel");
  std::vector<Json> requests;
  for (const std::string& text : texts_) requests.push_back({{"text", text}});
  const std::vector<Json> greedy = answers(dir, requests, {"--max_new_tokens", "12"});
  EXPECT_EQ(answers(dir, requests, {"--max_new_tokens", "12", "--use_cache", "false"}), greedy);
  EXPECT_EQ(answers(dir, requests, {"--max_new_tokens", "12", "--isa", "ref", "--threads", "1"}), greedy);
  ASSERT_EQ(greedy.size(), texts_.size());
  // The first token is the best one behind [CLS] and the text.
  text::Encoding prompt;
  prompt.ids = tokenizer_.tokenize(texts_[0]).ids;
  prompt.ids.insert(prompt.ids.begin(), tokenizer_.cls_id());
  prompt.type_ids.assign(prompt.ids.size(), 0);
  const std::vector<double> logits = raw(dir, prompt, "logits");
  const auto row = logits.end() - static_cast<std::ptrdiff_t>(tokenizer_.vocabulary().size());
  EXPECT_EQ(greedy[0].at("tokens")[0], std::max_element(row, logits.end()) - row);
  for (const Json& answer : greedy) {
    const bool ended = answer.at("tokens").back() == tokenizer_.sep_id();
    EXPECT_EQ(answer.at("finish"), ended ? "end" : "length");
    EXPECT_TRUE(ended || answer.at("tokens").size() == 12U);
  }
  const std::vector<std::string> beams = {"--num_beams", "3", "--max_new_tokens", "6"};
  std::vector<std::string> without = beams;
  without.insert(without.end(), {"--use_cache", "false"});
  EXPECT_EQ(answers(dir, requests, without), answers(dir, requests, beams));
  const std::vector<std::string> drawn = {"--do_sample", "true", "--seed", "7", "--max_new_tokens", "8"};
  EXPECT_EQ(answers(dir, requests, drawn), answers(dir, requests, drawn));
  EXPECT_NE(answers(dir, requests, drawn), answers(dir, requests, {"--max_new_tokens", "8"}));
  EXPECT_THAT(run({dir, "--text", "a", "--max_new_tokens", "500"}, "", 2).err, HasSubstr("do not fit"));
}

TEST_F(Predict, WrongRequestsGetOneSentenceEach) {
  const std::string masks = model(GraphHead::kLanguageModel, "QDQBertForMaskedLM");
  const CommandResult lines = run({masks},
                                  R"({"id": 1, "text": "no mask"}
{"id": 2, "text": ""}
{"id": 3, "text": "a [MASK]", "choices": ["b"]}
{"id": 4, "text": "a [MASK]"}
{"id": 5}
)",
                                  2);
  const std::vector<Json> found = json_lines(lines.out);
  ASSERT_EQ(found.size(), 5U);
  EXPECT_THAT(found[0].at("error").get<std::string>(), HasSubstr("[MASK]"));
  EXPECT_THAT(found[1].at("error").get<std::string>(), HasSubstr("empty"));
  EXPECT_THAT(found[2].at("error").get<std::string>(), HasSubstr("choices"));
  EXPECT_TRUE(found[3].contains("masks"));
  EXPECT_THAT(found[4].at("error").get<std::string>(), HasSubstr("\"text\" is missing"));
  const std::string labels = model(GraphHead::kSequenceClassification, "QDQBertForSequenceClassification",
                                   {{"id2label", {{"0", "a"}, {"1", "b"}, {"2", "c"}}}});
  EXPECT_THAT(run({labels, "--text", "a"}, "", 2).err, HasSubstr("names 3 labels, the model has 2 outputs"));
  const std::string odd = model(GraphHead::kSequenceClassification, "QDQBertForSequenceClassification",
                                {{"id2label", {{"1", 7}, {"2", true}}}, {"problem_type", nullptr}});
  const CommandResult numbered = run({odd}, "{\"text\": \"a\"}\n", 0);
  EXPECT_THAT(numbered.out, HasSubstr("\"7\""));
  EXPECT_THAT(numbered.out, HasSubstr("\"true\""));
  EXPECT_THAT(run({labels, "--text", "a", "--task", "tag"}, "", 2).err,
              HasSubstr("a row of values for each token"));
  EXPECT_THAT(run({labels, "--question", "a", "--context", "b"}, "", 2).err,
              HasSubstr("does not answer questions"));
  EXPECT_THAT(run({masks, "--text_pair", "a"}, "", 2).err, HasSubstr("--text_pair goes with --text"));
  const std::string choices = model(GraphHead::kMultipleChoice, "QDQBertForMultipleChoice");
  EXPECT_THAT(run({choices, "--text", "a", "--choices", "b"}, "", 2).err, HasSubstr("two at least"));
}

}  // namespace
}  // namespace qdqbert
