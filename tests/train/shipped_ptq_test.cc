// The shipped model against what the originals gave for it: ranges of every calibration method,
// FP32 answers, and for every method the answers of the fake-quantized model by the noise rule.
// The last takes minutes of forward passes.
#include <cmath>
#include <filesystem>
#include <map>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/json.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/nn/block_cache.h"
#include "qdqbert/tasks/paired_bootstrap.h"
#include "qdqbert/tasks/squad_evaluation.h"
#include "qdqbert/text/tokenizer.h"
#include "qdqbert/train/calibrate.h"
#include "qdqbert/train/squad_data.h"

#include "tests/onnx/shipped_model.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;
using train::CalibrationMethod;

const fs::path kDirectory = fs::path(QDQBERT_SOURCE_DIR) / "models" / "minilm-l6-squad";

struct Method {
  std::string name;  ///< as in reference-amax.json
  CalibrationMethod calibrator = CalibrationMethod::kMax;
  std::optional<double> percentile;
};

/// The recorded methods, entropy last because it changes the histograms.
std::vector<Method> recorded_methods() {
  std::vector<Method> methods, last;
  const Json recorded = read_json(kDirectory / "reference-amax.json");
  for (const auto& [name, ranges] : recorded.items()) {
    const size_t dash = name.find('-');
    Method method{name, train::parse_calibration_method(name.substr(0, dash)), {}};
    if (dash != std::string::npos) method.percentile = std::stod(name.substr(dash + 1));
    (method.calibrator == CalibrationMethod::kEntropy ? last : methods).push_back(method);
  }
  methods.insert(methods.end(), last.begin(), last.end());
  return methods;
}

/// The shipped float model after it has seen calibration-128.json in file order, 16 at a time, padded to 384.
std::shared_ptr<model::PreTrainedModel> calibrated_model(const train::QuantOptions& options) {
  nn::cache_large_tensors();
  const auto loaded =
      model::load_model("QDQBertForQuestionAnswering", kDirectory, train::quant_defaults(options));
  const auto examples = tasks::read_squad(kDirectory / "calibration-128.json");
  tasks::FeatureOptions feature_options;
  feature_options.labels = false;
  const auto features =
      tasks::SquadFeatures::build(examples, text::Tokenizer::from_directory(kDirectory), feature_options);
  size_t next = 0;
  const auto source = [&]() -> std::optional<train::CalibrationBatch> {
    constexpr size_t kBatch = 16;
    std::vector<size_t> rows;
    for (; next < features.size() && rows.size() < kBatch; ++next) rows.push_back(next);
    if (rows.empty()) return std::nullopt;
    return train::CalibrationBatch{static_cast<int64_t>(rows.size()),
                                   train::batch_of(features, rows, features.width(0))};
  };
  train::collect_statistics(*loaded.model, source, static_cast<int64_t>(features.size()));
  return loaded.model;
}

TEST(ShippedPtq, RangesOfEveryMethodAreTheReferences) {
  // Six layers of sums of up to 1,536 products, each rounded to 2^-24 in another order, move an activation
  // and so a maximum by sqrt(6 * 1536) * 2^-24. Bins are as wide as the maximum of the first batch
  // says, so the other ranges move as much; a value next to an edge may change bins, and where that
  // decides, a range moves by one bin. Few do.
  const double kRounding = std::sqrt(6 * 1536) * 0x1p-24;
  constexpr double kBins = 2048;
  constexpr int kMostMoved = 2;
  const Json recorded = read_json(kDirectory / "reference-amax.json");
  std::map<bool, std::shared_ptr<model::PreTrainedModel>> collections;  // by "is a maximum"
  for (const Method& method : recorded_methods()) {
    const bool by_maximum = method.calibrator == CalibrationMethod::kMax;
    if (!collections.contains(by_maximum)) {
      train::QuantOptions options;
      options.calibrator = method.calibrator;
      options.percentile = method.percentile;
      collections[by_maximum] = calibrated_model(options);
    }
    model::PreTrainedModel& model = *collections[by_maximum];
    train::load_ranges(model, method.calibrator, method.percentile);
    double worst = 0;
    int compared = 0, moved = 0;
    for (const model::NamedQuantizer& item : model.named_quantizers()) {
      const Json& wanted = recorded.at(method.name).at(item.name);
      if (wanted.is_null()) continue;
      ASSERT_TRUE(item.quantizer->has_amax()) << item.name;
      const double found = item.quantizer->amax().item<double>(), range = wanted.get<double>();
      const double bin = recorded.at("max").at(item.name).get<double>() / kBins;
      EXPECT_NEAR(found, range, by_maximum ? kRounding * range : bin) << method.name << " " << item.name;
      moved += std::fabs(found - range) > kRounding * range ? 1 : 0;
      worst = std::max(worst, std::fabs(found - range) / range);
      ++compared;
    }
    std::printf("%-20s %d ranges, largest relative difference %.2g\n", method.name.c_str(), compared, worst);
    EXPECT_EQ(compared, 84);  // 14 inputs in each of 6 layers
    EXPECT_LE(moved, kMostMoved) << method.name;
  }
}

std::vector<std::string> recorded_answers(const std::string& name,
                                          const std::vector<tasks::SquadExample>& examples) {
  const Json recorded = read_json(kDirectory / "reference-predictions" / (name + "-dev-1000.json.gz"));
  std::vector<std::string> answers;
  for (const auto& example : examples) answers.push_back(recorded.at(example.id).get<std::string>());
  return answers;
}

tasks::SquadEvaluation evaluation_of(model::PreTrainedModel& model, const testing::ShippedQuestions& shipped,
                                     train::Precision precision = train::Precision::kFloat32) {
  constexpr int64_t kBatch = 16;
  nn::cache_large_tensors();
  train::SquadData data(shipped.examples, shipped.features, {}, true);
  train::run_over(model, data, kBatch, {}, precision);
  return data.evaluation();
}

std::vector<std::string> answers_of(const tasks::SquadEvaluation& evaluation) {
  std::vector<std::string> answers;
  for (const auto& answer : evaluation.answers) answers.push_back(answer.text);
  return answers;
}

TEST(ShippedPtq, FloatAnswersAreTheReferences) {
  const auto shipped = testing::shipped_questions(1000);
  const auto evaluation = evaluation_of(*testing::shipped_model(""), shipped);
  EXPECT_EQ(answers_of(evaluation), recorded_answers("fp32", shipped.examples));
  // The model's README gives the scores with four decimals.
  EXPECT_NEAR(evaluation.metrics.at("exact_match").get<double>(), 71.8, 5e-5);
  EXPECT_NEAR(evaluation.metrics.at("f1").get<double>(), 81.5766, 5e-5);
}

// Operands of eight bits change more answers than another order of sums does, so only the score is compared.
TEST(ShippedPtq, ScoresWithBf16ProductsAreTheReferences) {
  const auto shipped = testing::shipped_questions(1000);
  for (const char* name : {"fp32", "percentile-99.999"}) {
    const auto model = testing::shipped_model(name == std::string("fp32") ? "" : name);
    const auto answers = answers_of(evaluation_of(*model, shipped, train::Precision::kBf16));
    const auto theirs = recorded_answers(name, shipped.examples);
    const tasks::F1Difference f1 = tasks::paired_bootstrap_f1(shipped.examples, answers, theirs);
    std::printf(
        "%-20s F1 %.4f with BF16 products, reference %.4f (standard error of the difference %.4f); %.1f %% of answers differ\n",
        name, f1.f1_a, f1.f1_b, f1.standard_error, 100 * tasks::share_of_differing_answers(answers, theirs));
    EXPECT_LE(std::fabs(f1.difference), 2 * f1.standard_error) << name;
  }
}

class ScoreOfMethod : public ::testing::TestWithParam<std::string> {};

// The floor is the same model in float64, as the floors that the model's README records were measured
// (45.2 % with the method max, 11.1 % with percentile 99.999). Another order of sums alone leaves
// the rounding of softmax, GELU and LayerNorm as it is, in which ours and the reference differ, too;
// it changes half as many answers with max.
TEST_P(ScoreOfMethod, EqualsTheReferencesByTheNoiseRule) {
  const auto shipped = testing::shipped_questions(1000);
  const auto model = testing::shipped_model(GetParam());
  const auto ours = evaluation_of(*model, shipped);
  const auto answers = answers_of(ours),
             again = answers_of(evaluation_of(*model, shipped, train::Precision::kFloat64)),
             theirs = recorded_answers(GetParam(), shipped.examples);
  const double floor = tasks::share_of_differing_answers(answers, again),
               found = tasks::share_of_differing_answers(answers, theirs);
  const tasks::F1Difference f1 = tasks::paired_bootstrap_f1(shipped.examples, answers, theirs);
  std::printf(
      "%-20s EM %.2f F1 %.4f, reference F1 %.4f (standard error of the difference %.4f); %.1f %% of answers "
      "differ from the reference's, %.1f %% from our own in float64\n",
      GetParam().c_str(), ours.metrics.at("exact_match").get<double>(), f1.f1_a, f1.f1_b, f1.standard_error,
      100 * found, 100 * floor);
  EXPECT_GT(floor, 0) << "float64 has changed nothing";
  EXPECT_LE(found, 1.2 * floor);
  EXPECT_LE(std::fabs(f1.difference), 2 * f1.standard_error);
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const Method& method : recorded_methods()) names.push_back(method.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(ShippedPtq, ScoreOfMethod, ::testing::ValuesIn(method_names()),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name)
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           return name;
                         });

}  // namespace
}  // namespace qdqbert
