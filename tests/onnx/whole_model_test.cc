// The noise rule for the whole model: ONNX Runtime and our engine on the exported shipped model against our
// fake-quantized one. Rounding alone makes answers differ, so the yardstick is our own model against itself
// with its features in another order, which changes nothing but the order of sums.
//
// Runs in three steps that share a folder: Writes (this file),
// tests/peer/run_logits.py, Compares (this file).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/session.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/model/onnx_export.h"
#include "qdqbert/tasks/paired_bootstrap.h"
#include "qdqbert/tasks/squad_postprocess.h"

#include "tests/onnx/reorder_features.h"
#include "tests/onnx/shipped_model.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;

constexpr size_t kQuestions = 1000, kBatch = 8;
constexpr const char* kMethod = "percentile-99.999";

fs::path folder() {
  return fs::path(QDQBERT_BINARY_DIR) / "peer-files" / "whole";
}

/// Feature numbers by length, in batches.
std::vector<std::vector<size_t>> batches_of(const tasks::SquadFeatures& features) {
  std::vector<size_t> order(features.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return features[a].length < features[b].length; });
  std::vector<std::vector<size_t>> batches;
  for (size_t i = 0; i < order.size(); i += kBatch)
    batches.emplace_back(order.begin() + i, order.begin() + std::min(order.size(), i + kBatch));
  return batches;
}

std::string key_of(size_t batch, const char* name) {
  return fmt::format("batch{:04d}.{}", batch, name);
}

struct Logits {
  std::vector<std::vector<float>> start, end;  ///< by feature
};

void add_rows(Logits& logits, const std::vector<size_t>& which, const float* start, const float* end,
              size_t width) {
  for (size_t row = 0; row < which.size(); ++row) {
    logits.start[which[row]].assign(start + row * width, start + (row + 1) * width);
    logits.end[which[row]].assign(end + row * width, end + (row + 1) * width);
  }
}

Logits our_logits(model::PreTrainedModel& model, const tasks::SquadFeatures& features) {
  Logits logits{std::vector<std::vector<float>>(features.size()),
                std::vector<std::vector<float>>(features.size())};
  const at::NoGradGuard no_grad;
  for (const auto& which : batches_of(features)) {
    const model::ModelOutputs outputs = model.forward(testing::batch_of(features, which));
    const at::Tensor start = outputs.start_logits.contiguous(), end = outputs.end_logits.contiguous();
    add_rows(logits, which, start.data_ptr<float>(), end.data_ptr<float>(),
             static_cast<size_t>(start.size(1)));
  }
  return logits;
}

Logits recorded_logits(const tasks::SquadFeatures& features) {
  Logits logits{std::vector<std::vector<float>>(features.size()),
                std::vector<std::vector<float>>(features.size())};
  const auto file = io::SafetensorsFile::open(folder() / "logits.safetensors");
  const auto batches = batches_of(features);
  for (size_t i = 0; i < batches.size(); ++i) {
    const TensorView& start = file.at(key_of(i, "output_start_logits"));
    const std::vector<float> starts = to_float32(start),
                             ends = to_float32(file.at(key_of(i, "output_end_logits")));
    add_rows(logits, batches[i], starts.data(), ends.data(), static_cast<size_t>(start.shape.at(1)));
  }
  return logits;
}

/// What the engine's integer kernels make of the exported file.
Logits engine_logits(const tasks::SquadFeatures& features) {
  Logits logits{std::vector<std::vector<float>>(features.size()),
                std::vector<std::vector<float>>(features.size())};
  const engine::Session session(folder() / "model.onnx");
  EXPECT_TRUE(session.bit_exact()) << session.plan()[0].note;
  for (const auto& which : batches_of(features)) {
    const model::ModelInputs inputs = testing::batch_of(features, which);
    const auto values = [](const at::Tensor& tensor) {
      return std::span<const int64_t>(tensor.data_ptr<int64_t>(), static_cast<size_t>(tensor.numel()));
    };
    const auto outputs = session.run(engine::PaddedBatch<int64_t>{
        which.size(), static_cast<size_t>(inputs.input_ids.size(1)), values(inputs.input_ids),
        values(inputs.attention_mask), values(inputs.token_type_ids)});
    add_rows(logits, which, outputs.at(0).values.data(), outputs.at(1).values.data(),
             static_cast<size_t>(inputs.input_ids.size(1)));
  }
  return logits;
}

std::vector<std::string> answers_of(const testing::ShippedQuestions& shipped, const Logits& logits) {
  std::vector<tasks::FeatureLogits> views;
  for (size_t i = 0; i < shipped.features.size(); ++i) views.push_back({logits.start[i], logits.end[i]});
  const auto feature = [&](size_t i) {
    tasks::AnswerFeature answer{shipped.features[i].example, {}, {}};
    shipped.features.offsets(i, answer.offsets, answer.is_context);
    return answer;
  };
  std::vector<std::string> texts;
  for (const auto& answer :
       tasks::find_answers(shipped.examples, shipped.features.size(), feature, views, {}))
    texts.push_back(answer.text);
  return texts;
}

int differing(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  int count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

TEST(WholeModel, Writes) {
  fs::remove_all(folder());
  fs::create_directories(folder());
  const auto model = testing::shipped_model(kMethod);
  model::export_onnx(*model, folder() / "model.onnx");
  const auto shipped = testing::shipped_questions(kQuestions);
  std::vector<at::Tensor> kept;
  std::vector<io::NamedTensor> tensors;
  const auto batches = batches_of(shipped.features);
  for (size_t i = 0; i < batches.size(); ++i) {
    const model::ModelInputs inputs = testing::batch_of(shipped.features, batches[i]);
    for (const auto& [name, tensor] :
         {std::pair("input_ids", inputs.input_ids), std::pair("attention_mask", inputs.attention_mask),
          std::pair("token_type_ids", inputs.token_type_ids)}) {
      kept.push_back(tensor);
      tensors.push_back(
          {key_of(i, name),
           {DType::kI64,
            Shape(tensor.sizes().vec()),
            {static_cast<const std::byte*>(tensor.data_ptr()), static_cast<size_t>(tensor.nbytes())}}});
    }
  }
  io::write_safetensors(folder() / "inputs.safetensors", tensors);
}

/// At most 1.2 times the floor of answers differ, and F1 by no more than two standard errors.
void expect_equal_by_noise_rule(const testing::ShippedQuestions& shipped, const char* who,
                                const std::vector<std::string>& ours, const std::vector<std::string>& theirs,
                                int floor) {
  const int found = differing(ours, theirs);
  const tasks::F1Difference f1 = tasks::paired_bootstrap_f1(shipped.examples, ours, theirs);
  std::printf(
      "%zu questions: %d answers differ from %s, %d from our own in another order of sums; F1 %.3f and %.3f, "
      "standard error of the difference %.3f\n",
      ours.size(), found, who, floor, f1.f1_a, f1.f1_b, f1.standard_error);
  EXPECT_GT(f1.f1_a, 60.0);
  EXPECT_LE(found, 1.2 * floor) << who;
  EXPECT_LE(std::fabs(f1.difference), 2 * f1.standard_error) << who;
}

TEST(WholeModel, Compares) {
  const auto shipped = testing::shipped_questions(kQuestions);
  const auto model = testing::shipped_model(kMethod), reordered = testing::shipped_model(kMethod);
  testing::reorder_features(*reordered);
  const auto ours = answers_of(shipped, our_logits(*model, shipped.features));
  const int floor = differing(ours, answers_of(shipped, our_logits(*reordered, shipped.features)));
  EXPECT_GT(floor, 0) << "reordering the features has not reached the sums";
  expect_equal_by_noise_rule(shipped, "ONNX Runtime's", ours,
                             answers_of(shipped, recorded_logits(shipped.features)), floor);
  expect_equal_by_noise_rule(shipped, "the engine's", ours,
                             answers_of(shipped, engine_logits(shipped.features)), floor);
}

}  // namespace
}  // namespace qdqbert
