#include "qdqbert/io/name_map.h"

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/io/wrapper_names.h"

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
                    "QDQBertForQuestionAnswering, 1: ['cls.bias']"),
      0u);
  EXPECT_EQ(
      lines[1].find(
          "Some weights of QDQBertForQuestionAnswering were not initialized from the model checkpoint at "
          "some/where and are newly initialized, 2: ['qa_outputs.bias', 'qa_outputs.weight']"),
      0u);
  EXPECT_NE(lines[2].find("w: [2] in the checkpoint, [3] in the model"), std::string::npos);
  EXPECT_TRUE(warnings({{}, {}, {}, {"q._amax"}}, "X", "y").empty());
  LoadReport many;
  for (int i = 0; i < 99; ++i) many.missing.push_back(fmt::format("t{:02}", i));
  const std::string line = warnings(many, "X", "y").at(0);
  EXPECT_NE(line.find("99: ['t00',"), std::string::npos) << line;
  EXPECT_NE(line.find("'t09'] and 89 more"), std::string::npos) << line;
}

TEST(NameMapTest, WrappersArePutAside) {
  EXPECT_EQ(unwrapped_name("module.bert.layer.weight"), "bert.layer.weight");
  EXPECT_EQ(unwrapped_name("model.module._orig_mod.qa_outputs.weight"), "qa_outputs.weight");
  EXPECT_EQ(unwrapped_name("_orig_mod.module.model.layer.weight"), "layer.weight");
  EXPECT_EQ(unwrapped_name("bert._orig_mod.encoder._checkpoint_wrapped_module.weight"),
            "bert.encoder.weight");
  EXPECT_EQ(unwrapped_name("0.auto_model.embeddings.weight"), "embeddings.weight");
  EXPECT_EQ(unwrapped_name("bert.my_orig_mod.module.weight"), "bert.my_orig_mod.module.weight");
  EXPECT_EQ(unwrapped_name("model"), "model");
  const auto plan = plan_load(checkpoint({{"module.bert.embeddings.LayerNorm.gamma", {4}},
                                          {"module.bert.layer.weight", {4, 4}},
                                          {"module.bert.layer._input_quantizer._amax", {}},
                                          {"module.qa_outputs.weight", {2, 4}}}),
                              kHead);
  EXPECT_EQ(matched(plan).at(0),
            "module.bert.embeddings.LayerNorm.gamma -> bert.embeddings.LayerNorm.weight");
  EXPECT_EQ(plan.matches.size(), 4u);
  EXPECT_TRUE(plan.report.missing.empty() && plan.report.unexpected.empty());
  EXPECT_THROW(
      plan_load(checkpoint({{"model.bert.layer.weight", {4, 4}}, {"bert.layer.weight", {4, 4}}}), kHead),
      InputError);
}

TEST(NameMapTest, ARandomEncoderIsRefused) {
  const auto said = [](const LoadReport& report) -> std::string {
    try {
      require_encoder(report, "X", "some/where");
      return "";
    } catch (const InputError& error) {
      return error.what();
    }
  };
  EXPECT_EQ(said({{"classifier.weight", "bert.pooler.dense.weight"}, {"cls.bias"}, {}, {}}), "");
  EXPECT_EQ(said({{"bert.encoder.layer.0.crossattention.self.query.weight"}, {}, {}, {}}), "");
  EXPECT_EQ(
      said({{"bert.embeddings.word_embeddings.weight"}, {"other.bias"}, {}, {}}),
      "[load] some/where lacks 1 tensors of the encoder, like bert.embeddings.word_embeddings.weight, but it has "
      "1 that no X has, like other.bias; what they would be is random: give a BERT checkpoint, or "
      "--allow_random_encoder to train it");
  EXPECT_NE(said({{"encoder.layer.0.output.dense.bias"}, {}, {}, {}}), "") << "a file of the bare encoder";
  EXPECT_NE(said({{}, {}, {{"bert.encoder.layer.0.output.dense.bias", {2}, {3}}}, {}}), "");
}

}  // namespace
}  // namespace qdqbert::io
