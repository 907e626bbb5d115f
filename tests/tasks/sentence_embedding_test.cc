#include "qdqbert/tasks/sentence_embedding.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"

namespace qdqbert::tasks {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;

/// Three tokens of two numbers.
const std::vector<float> kStates = {1, -2, 3, 4, -5, 6};

std::vector<float> embedded(std::vector<Pooling> pooling, size_t prompt_tokens = 0) {
  SentenceModel model;
  model.pooling = std::move(pooling);
  model.steps.clear();
  model.include_prompt = prompt_tokens == 0;
  return embed_sentence(model, kStates, 2, prompt_tokens);
}

TEST(SentenceEmbedding, EveryPooling) {
  EXPECT_THAT(embedded({Pooling::kCls}), ElementsAre(1, -2));
  EXPECT_THAT(embedded({Pooling::kMax}), ElementsAre(3, 6));
  EXPECT_THAT(embedded({Pooling::kMean}), ElementsAre(FloatEq(-1.0f / 3), FloatEq(8.0f / 3)));
  EXPECT_THAT(embedded({Pooling::kMeanSqrtLength}),
              ElementsAre(FloatEq(-1 / std::sqrt(3.0f)), FloatEq(8 / std::sqrt(3.0f))));
  EXPECT_THAT(embedded({Pooling::kWeightedMean}), ElementsAre(FloatEq(-8.0f / 6), FloatEq(24.0f / 6)));
  EXPECT_THAT(embedded({Pooling::kLastToken}), ElementsAre(-5, 6));
  EXPECT_THAT(embedded({Pooling::kLastToken, Pooling::kCls}), ElementsAre(-5, 6, 1, -2))
      << "behind each other";
}

TEST(SentenceEmbedding, TokensOfThePromptAreLeftOut) {
  EXPECT_THAT(embedded({Pooling::kCls}, 1), ElementsAre(3, 4));
  EXPECT_THAT(embedded({Pooling::kMean}, 1), ElementsAre(-1, 5));
  EXPECT_THAT(embedded({Pooling::kWeightedMean}, 1), ElementsAre(FloatEq(-9.0f / 5), FloatEq(26.0f / 5)))
      << "weights keep their places";
  EXPECT_THAT(embedded({Pooling::kMax}, 2), ElementsAre(-5, 6));
  EXPECT_THAT(embedded({Pooling::kMean}, 9), ElementsAre(0, 0));
  SentenceModel model;
  model.steps.clear();
  EXPECT_THAT(embed_sentence(model, kStates, 2, 1), ElementsAre(FloatEq(-1.0f / 3), FloatEq(8.0f / 3)))
      << "unless they count";
}

TEST(SentenceEmbedding, LayersBehindPooling) {
  SentenceModel model;
  model.pooling = {Pooling::kCls};
  DenseLayer layer{2, 3, {1, 0, 0, 1, 1, 1}, {0.5f, 0, 0}, DenseLayer::Activation::kTanh};
  model.steps = {layer};
  EXPECT_THAT(embed_sentence(model, kStates, 2),
              ElementsAre(FloatEq(std::tanh(1.5f)), FloatEq(std::tanh(-2.0f)), FloatEq(std::tanh(-1.0f))));
  EXPECT_EQ(model.width(2), 3u);
  layer.activation = DenseLayer::Activation::kRelu;
  model.steps = {layer, Normalize{}};
  EXPECT_THAT(embed_sentence(model, kStates, 2), ElementsAre(1, 0, 0));
  EXPECT_THROW(embed_sentence(model, kStates, 3), InputError) << "two numbers go in";
  EXPECT_THROW(embed_sentence(model, kStates, 4), InputError);
  EXPECT_THROW(embed_sentence(model, {}, 2), InputError);
}

TEST(SentenceEmbedding, Prompts) {
  SentenceModel model;
  EXPECT_EQ(model.prompt({}), "");
  EXPECT_THROW(model.prompt("query"), UsageError);
  model.prompts = {{"query", "query: "}, {"passage", "passage: "}};
  EXPECT_EQ(model.prompt("query"), "query: ");
  EXPECT_EQ(model.prompt({}), "");
  model.default_prompt = "passage";
  EXPECT_EQ(model.prompt({}), "passage: ");
  EXPECT_EQ(model.prompt(""), "") << "none";
  for (const std::string& name : pooling_names()) EXPECT_EQ(name_of(*pooling_named(name)), name);
  EXPECT_EQ(pooling_named("median"), std::nullopt);
}

}  // namespace
}  // namespace qdqbert::tasks
