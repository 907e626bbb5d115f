#include <cmath>

#include <gtest/gtest.h>

#include "qdqbert/model/heads.h"
#include "qdqbert/train/calibrate.h"
#include "qdqbert/train/choice_data.h"
#include "qdqbert/train/classify_data.h"
#include "qdqbert/train/generate.h"
#include "qdqbert/train/lm_data.h"
#include "qdqbert/train/tag_data.h"

#include "tests/tasks/letters_tokenizer.h"

namespace qdqbert::train {
namespace {

io::BertConfig small_config(const text::Tokenizer& tokenizer) {
  io::BertConfig config;
  config.vocab_size = static_cast<int64_t>(tokenizer.vocabulary().size());
  config.hidden_size = 16;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.intermediate_size = 32;
  config.max_position_embeddings = 40;
  config.pad_token_id = 0;
  config.initializer_range = 0.4;
  return config;
}

std::shared_ptr<model::PreTrainedModel> float_model(const std::string& name, io::BertConfig config) {
  const auto made = model::make_model(name, config);
  made->init_weights(3);
  for (const model::NamedQuantizer& item : made->named_quantizers()) item.quantizer->disable();
  return made;
}

TaskContext context_of(const text::Tokenizer& tokenizer) {
  TaskContext context{tokenizer};
  context.max_length = 24;
  context.pad_to_max_length = false;
  return context;
}

tasks::RecordFile lines(const std::string& text) {
  return tasks::parse_records(text, tasks::RecordFormat::kJsonLines, "f");
}

const char* const kChoices =
    "{\"prompt\":\"the dog\",\"choices\":[\"a b\",\"c\",\"d e f g\"],\"answer\":2}\n"
    "{\"prompt\":\"a\",\"choices\":[\"the\",\"dog\"],\"answer\":1}\n"
    "{\"prompt\":\"b ?\",\"choices\":[\"x\"],\"answer\":0}\n";

TEST(TaskData, ChoicesThatAreNotThereHaveNoPartInTheLoss) {
  const text::Tokenizer tokenizer = tasks::letters_tokenizer();
  ChoiceData data(tasks::parse_choices(lines(kChoices)), context_of(tokenizer));
  const auto model = float_model("QDQBertForMultipleChoice", small_config(tokenizer));
  const auto loss = data.loss();
  ASSERT_TRUE(loss);
  double sum = 0;
  for (const int64_t sample : {0, 1, 2}) {
    const model::ModelInputs alone = data.batch(std::vector<int64_t>{sample}, 0);
    sum += model->forward(alone).loss.item<double>();
  }
  const double together = loss(*model, data.batch(std::vector<int64_t>{0, 1, 2}, 0), {}).item<double>();
  EXPECT_NEAR(together, sum / 3, 1e-5);
  run_over(*model, data, 2);
  EXPECT_NEAR(data.metrics()["loss"].get<double>(), sum / 3, 1e-5)
      << "evaluation does without padding choices";
  EXPECT_NEAR(*data.chance_loss(data.batch(std::vector<int64_t>{0, 1, 2}, 0)), std::log(6.0) / 3, 1e-6);
}

TEST(TaskData, LossOfAnEvaluationIsTheMeanLossOfTheModel) {
  const text::Tokenizer tokenizer = tasks::letters_tokenizer();
  const auto check = [&](const std::string& name, TaskData& data, int64_t labels, const char* problem) {
    io::BertConfig config = small_config(tokenizer);
    config.set_num_labels(labels);
    const auto model = float_model(name, config);
    double sum = 0;
    for (int64_t sample = 0; sample < data.size(); ++sample)
      sum += model->forward(data.batch(std::vector<int64_t>{sample}, 0)).loss.item<double>();
    run_over(*model, data, 2);
    EXPECT_NEAR(data.metrics()["loss"].get<double>(), sum / static_cast<double>(data.size()), 1e-4)
        << problem;
  };
  const std::string single = "{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"the dog ?\",\"label\":\"z\"}\n";
  ClassifyData one(tasks::parse_classify(lines(single)), tasks::LabelMap({"x", "y", "z"}),
                   context_of(tokenizer));
  check("QDQBertForSequenceClassification", one, 3, "single");
  const std::string many =
      "{\"text\":\"a\",\"label\":[\"x\",\"z\"]}\n{\"text\":\"the dog ?\",\"label\":[]}\n";
  ClassifyData several(tasks::parse_classify(lines(many)), tasks::LabelMap({"x", "y", "z"}),
                       context_of(tokenizer));
  check("QDQBertForSequenceClassification", several, 3, "several");
  const std::string number = "{\"text\":\"a\",\"label\":0.5}\n{\"text\":\"the dog ?\",\"label\":2.5}\n";
  ClassifyData value(tasks::parse_classify(lines(number)), {}, context_of(tokenizer));
  check("QDQBertForSequenceClassification", value, 1, "number");
  // Sentences of as many words, so that the mean over tokens is the mean over sentences.
  TagData tags(tasks::parse_conll("ab B-X\nc O\n\nthe O\ndog B-X\n", "f"), tasks::LabelMap({"B-X", "O"}),
               false, false, context_of(tokenizer));
  check("QDQBertForTokenClassification", tags, 2, "tags");
}

TEST(TaskData, PaddingOnTheLeftChangesNoLabel) {
  const text::Tokenizer left = tasks::letters_tokenizer(text::Side::kLeft),
                        right = tasks::letters_tokenizer();
  const auto data = [](const text::Tokenizer& tokenizer) {
    return TagData(tasks::parse_conll("ab B-X\nc O\n\nd O\n", "f"), tasks::LabelMap({"B-X", "O"}), false,
                   false, context_of(tokenizer));
  };
  const std::vector<int64_t> samples = {0, 1};
  const model::ModelInputs a = data(left).batch(samples, 0), b = data(right).batch(samples, 0);
  for (int64_t row = 0; row < 2; ++row)
    EXPECT_TRUE(at::equal(a.labels[row].masked_select(a.attention_mask[row].to(at::kBool)),
                          b.labels[row].masked_select(b.attention_mask[row].to(at::kBool))));
  EXPECT_EQ(a.labels[1][0].item<int64_t>(), tasks::kIgnoredLabel);
}

TEST(TaskData, MasksOfTrainingFollowTheStepAlone) {
  const text::Tokenizer tokenizer = tasks::letters_tokenizer();
  const std::vector<std::string> texts(20, "the dog runs to a cat . what ?");
  LmData data(tasks::LmBlocks::build(texts, tokenizer, {24}), LmData::Objective::kMasked, {},
              context_of(tokenizer));
  const std::vector<int64_t> samples = {1, 4};
  EXPECT_TRUE(at::equal(data.batch(samples, 3).input_ids, data.batch(samples, 3).input_ids));
  EXPECT_FALSE(at::equal(data.batch(samples, 3).labels, data.batch(samples, 4).labels));
  EXPECT_TRUE(at::equal(data.inputs(samples, 24).input_ids, data.inputs(samples, 24).input_ids));
}

TEST(TaskData, PerplexityOfNextTokens) {
  const text::Tokenizer tokenizer = tasks::letters_tokenizer();
  io::BertConfig config = small_config(tokenizer);
  config.is_decoder = true;
  const auto model = float_model("QDQBertLMHeadModel", config);
  LmData data(tasks::LmBlocks::build({"the dog runs", "a cat"}, tokenizer, {24}), LmData::Objective::kCausal,
              {}, context_of(tokenizer));
  ASSERT_EQ(data.size(), 1);
  const double loss = model->forward(data.batch(std::vector<int64_t>{0}, 0)).loss.item<double>();
  run_over(*model, data, 1);
  EXPECT_NEAR(data.metrics()["perplexity"].get<double>(), std::exp(loss), 1e-4 * std::exp(loss));
}

TEST(Generation, TheCacheChangesNoToken) {
  const text::Tokenizer tokenizer = tasks::letters_tokenizer();
  io::BertConfig config = small_config(tokenizer);
  config.is_decoder = true;
  const auto model = float_model("QDQBertLMHeadModel", config);
  const std::vector<int32_t> prompt = {2, 5, 6};
  tasks::GenerationOptions options;
  options.max_new_tokens = 20;
  for (const int64_t beams : {1, 4}) {
    options.beams = beams;
    const auto with = tasks::generate(prompt, next_token_logits(*model), options);
    const auto without = tasks::generate(prompt, next_token_logits(*model, false), options);
    ASSERT_EQ(with.size(), without.size());
    for (size_t i = 0; i < with.size(); ++i) {
      EXPECT_EQ(with[i].tokens, without[i].tokens);
      EXPECT_NEAR(with[i].score, without[i].score, 1e-4);
    }
  }
  // Logits themselves, at every step of one path.
  auto cached = next_token_logits(*model), whole = next_token_logits(*model, false);
  std::vector<int32_t> tokens = prompt;
  const std::vector<size_t> first = {0};
  for (int step = 0; step < 20; ++step) {
    const tasks::GenerationStep next = {1, tokens, step == 0 ? std::span<const size_t>() : first};
    const std::span<const float> a = cached(next);
    const std::vector<float> kept(a.begin(), a.end());
    const std::span<const float> b = whole(next);
    for (size_t v = 0; v < kept.size(); ++v) EXPECT_NEAR(kept[v], b[v], 1e-5) << step;
    tokens = {static_cast<int32_t>(5 + step)};
  }
}

}  // namespace
}  // namespace qdqbert::train
