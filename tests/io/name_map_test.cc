#include "qdqbert/io/name_map.h"

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"

namespace qdqbert::io {
namespace {

std::vector<NamedTensor> checkpoint(const std::vector<ExpectedTensor>& tensors) {
  std::vector<NamedTensor> out;
  for (const auto& [name, shape] : tensors) out.push_back({name, {DType::kF32, shape, {}}});
  return out;
}

std::vector<std::string> matched(const LoadPlan& plan) {
  std::vector<std::string> out;
  for (const Match& match : plan.matches) out.push_back(match.checkpoint_name + " -> " + match.model_name);
  return out;
}

using Names = std::vector<std::string>;

const ModelNames kHead = {
    "QDQBertForQuestionAnswering",
    {{"bert.embeddings.LayerNorm.weight", {4}}, {"bert.layer.weight", {4, 4}}, {"qa_outputs.weight", {2, 4}}},
    {"bert.layer._input_quantizer", "bert.layer._weight_quantizer"},
    {}};
const ModelNames kBare = {
    "QDQBertModel",
    {{"embeddings.LayerNorm.weight", {4}}, {"layer.weight", {4, 4}}, {"pooler.weight", {4, 4}}},
    {"layer._input_quantizer"},
    {}};

TEST(NameMapTest, OldNames) {
  EXPECT_EQ(modern_name("a.LayerNorm.gamma"), "a.LayerNorm.weight");
  EXPECT_EQ(modern_name("a.LayerNorm.beta"), "a.LayerNorm.bias");
  EXPECT_EQ(modern_name("beta.beta"), "bias.bias");
  EXPECT_EQ(modern_name("a.weight"), "a.weight");
}

TEST(NameMapTest, SamePrefix) {
  const auto plan = plan_load(checkpoint({{"bert.embeddings.LayerNorm.gamma", {4}},
                                          {"bert.layer.weight", {4, 4}},
                                          {"bert.embeddings.position_ids", {1, 8}},
                                          {"cls.predictions.bias", {9}},
                                          {"cls.seq_relationship.beta", {2}}}),
                              kHead);
  EXPECT_EQ(matched(plan), (Names{"bert.embeddings.LayerNorm.gamma -> bert.embeddings.LayerNorm.weight",
                                  "bert.layer.weight -> bert.layer.weight"}));
  EXPECT_EQ(plan.report.missing, Names{"qa_outputs.weight"});
  EXPECT_EQ(plan.report.unexpected, (Names{"cls.predictions.bias", "cls.seq_relationship.bias"}));
}

TEST(NameMapTest, PrefixMissingInTheFile) {
  const auto plan = plan_load(
      checkpoint({{"embeddings.LayerNorm.weight", {4}}, {"layer.weight", {4, 4}}, {"pooler.weight", {4, 4}}}),
      kHead);
  EXPECT_EQ(matched(plan), (Names{"embeddings.LayerNorm.weight -> bert.embeddings.LayerNorm.weight",
                                  "layer.weight -> bert.layer.weight"}));
  EXPECT_EQ(plan.report.missing, Names{"qa_outputs.weight"});
  EXPECT_EQ(plan.report.unexpected, Names{"pooler.weight"});
  EXPECT_THROW(plan_load(checkpoint({{"layer.weight", {4, 4}}, {"qa_outputs.weight", {2, 4}}}), kHead),
               InputError);
}

TEST(NameMapTest, PrefixMissingInTheModel) {
  const auto plan = plan_load(checkpoint({{"bert.layer.weight", {4, 4}},
                                          {"qa_outputs.weight", {2, 4}},
                                          {"bert.layer._input_quantizer._amax", {}}}),
                              kBare);
  EXPECT_EQ(matched(plan), (Names{"bert.layer.weight -> layer.weight",
                                  "bert.layer._input_quantizer._amax -> layer._input_quantizer._amax"}));
  EXPECT_EQ(plan.report.missing, (Names{"bert.embeddings.LayerNorm.weight", "bert.pooler.weight"}));
  EXPECT_EQ(plan.report.unexpected, Names{"qa_outputs.weight"});
  EXPECT_EQ(plan.report.ranges, Names{"bert.layer._input_quantizer._amax"});
}

TEST(NameMapTest, RangesOfQuantizersThatDoNotExistAreUnexpected) {
  const auto plan = plan_load(
      checkpoint({{"bert.layer._weight_quantizer._amax", {4, 1}}, {"bert.other._amax", {}}}), kHead);
  EXPECT_EQ(plan.report.ranges, Names{"bert.layer._weight_quantizer._amax"});
  EXPECT_EQ(plan.report.unexpected, Names{"bert.other._amax"});
}

TEST(NameMapTest, MismatchedShapes) {
  const auto tensors = checkpoint({{"bert.layer.weight", {5, 4}}, {"qa_outputs.weight", {2, 5}}});
  try {
    plan_load(tensors, kHead);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "[load] QDQBertForQuestionAnswering: bert.layer.weight has the shape [5, 4] in the "
                 "checkpoint, the model needs [4, 4] (and 1 more tensors differ)");
  }
  const auto plan = plan_load(tensors, kHead, true);
  ASSERT_EQ(plan.report.mismatched.size(), 2u);
  EXPECT_EQ(plan.report.mismatched[0].checkpoint_shape, (Shape{5, 4}));
  EXPECT_TRUE(plan.matches.empty());
  EXPECT_EQ(plan.report.missing, Names{"bert.embeddings.LayerNorm.weight"});
}

TEST(NameMapTest, TiedTensorsAreMissingOnlyTogether) {
  ModelNames model{
      "QDQBertForMaskedLM",
      {{"bert.words", {9, 4}}, {"cls.decoder.weight", {9, 4}}, {"cls.bias", {9}}, {"cls.decoder.bias", {9}}},
      {},
      {{"bert.words", "cls.decoder.weight"}, {"cls.bias", "cls.decoder.bias"}}};
  EXPECT_EQ(plan_load(checkpoint({{"bert.words", {9, 4}}}), model).report.missing,
            (Names{"cls.bias", "cls.decoder.bias"}));
  EXPECT_EQ(plan_load(checkpoint({{"bert.words", {9, 4}}, {"cls.bias", {9}}}), model).report.missing,
            Names{});
}

TEST(NameMapTest, TwoSpellingsOfOneTensor) {
  EXPECT_THROW(plan_load(checkpoint({{"bert.a.gamma", {4}}, {"bert.a.weight", {4}}}), kHead), InputError);
}

TEST(NameMapTest, WarnsOfWhatDoesNotFit) {
  const LoadReport report{
      {"qa_outputs.bias", "qa_outputs.weight"}, {"cls.bias"}, {{"w", {2}, {3}}}, {"q._amax"}};
  const auto lines = warnings(report, "QDQBertForQuestionAnswering", "some/where");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(
      lines[0].find("Some weights of the model checkpoint at some/where were not used when initializing "
                    "QDQBertForQuestionAnswering: ['cls.bias']"),
      0u);
  EXPECT_EQ(
      lines[1].find(
          "Some weights of QDQBertForQuestionAnswering were not initialized from the model checkpoint at "
          "some/where and are newly initialized: ['qa_outputs.bias', 'qa_outputs.weight']"),
      0u);
  EXPECT_NE(lines[2].find("w: [2] in the checkpoint, [3] in the model"), std::string::npos);
  EXPECT_TRUE(warnings({{}, {}, {}, {"q._amax"}}, "X", "y").empty());
}

}  // namespace
}  // namespace qdqbert::io
