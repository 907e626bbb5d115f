// The noise rule for the whole model: ONNX Runtime on the exported shipped model against our fake-quantized
// one. Rounding alone makes answers differ, so the yardstick is our own model against itself with its
// features in another order, which changes nothing but the order of sums.
//
// Runs in three steps that share a folder: Writes (this file), tests/peer/run_logits.py, Compares (this
// file).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/model/onnx_export.h"
#include "qdqbert/nn/state_dict.h"
#include "qdqbert/tasks/squad_metrics.h"
#include "qdqbert/tasks/squad_postprocess.h"

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

/// The same function with hidden and intermediate features in another order.
void reorder_features(model::PreTrainedModel& model) {
  const at::NoGradGuard no_grad;
  std::mt19937 engine(3);
  const auto shuffled = [&](int64_t count) {
    std::vector<int64_t> order(count);
    std::iota(order.begin(), order.end(), int64_t{0});
    std::shuffle(order.begin(), order.end(), engine);
    return at::tensor(order, at::kLong);
  };
  const at::Tensor hidden = shuffled(model.config().hidden_size);
  const at::Tensor wide = shuffled(model.config().intermediate_size);
  // Within heads: the same order for queries and keys, one for values and what reads them.
  const int64_t size = model.config().head_size();
  const at::Tensor starts = at::arange(0, model.config().hidden_size, size).unsqueeze(1);
  const at::Tensor scores = (starts + shuffled(size)).reshape({-1}),
                   values = (starts + shuffled(size)).reshape({-1});
  const auto contains = [](const std::string& name, const char* part) {
    return name.find(part) != std::string::npos;
  };
  for (const nn::NamedTensor& item : nn::state_dict(model)) {
    at::Tensor tensor = item.tensor;
    const auto pick = [&](int64_t dimension, const at::Tensor& order) {
      tensor.copy_(tensor.index_select(dimension, order).clone());
    };
    const std::string& name = item.name;
    if (contains(name, "_input_quantizer") || contains(name, "position_ids")) continue;
    const bool vector = tensor.dim() == 1, range = contains(name, "_amax");
    if (contains(name, "self.query") || contains(name, "self.key")) pick(0, scores);
    if (contains(name, "self.value")) pick(0, values);
    if (contains(name, "attention.output.dense.weight") && !range) pick(1, values);
    if (contains(name, "LayerNorm")) {
      pick(0, hidden);
    } else if (contains(name, "embeddings.") || contains(name, "qa_outputs.weight")) {
      pick(1, hidden);
    } else if (contains(name, ".self.") && !vector && !range) {
      pick(1, hidden);
    } else if (contains(name, "intermediate.dense")) {
      pick(0, wide);
      if (!vector && !range) pick(1, hidden);
    } else if (contains(name, "output.dense")) {
      pick(0, hidden);
      if (!vector && !range && !contains(name, "attention")) pick(1, wide);
    }
  }
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

TEST(WholeModel, Compares) {
  const auto shipped = testing::shipped_questions(kQuestions);
  const auto model = testing::shipped_model(kMethod), reordered = testing::shipped_model(kMethod);
  reorder_features(*reordered);
  const Logits logits = our_logits(*model, shipped.features);
  const auto ours = answers_of(shipped, logits);
  const auto again = answers_of(shipped, our_logits(*reordered, shipped.features));
  const auto theirs = answers_of(shipped, recorded_logits(shipped.features));
  const int floor = differing(ours, again), found = differing(ours, theirs);

  std::vector<double> f1_difference;
  double our_f1 = 0, their_f1 = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const double best_ours = tasks::score_v1(ours[i], shipped.examples[i].answers).f1;
    const double best_theirs = tasks::score_v1(theirs[i], shipped.examples[i].answers).f1;
    our_f1 += 100 * best_ours / ours.size();
    their_f1 += 100 * best_theirs / ours.size();
    f1_difference.push_back(100 * (best_theirs - best_ours));
  }
  std::mt19937 engine(17);
  std::uniform_int_distribution<size_t> pick(0, f1_difference.size() - 1);
  std::vector<double> means;
  for (int round = 0; round < 1000; ++round) {
    double sum = 0;
    for (size_t i = 0; i < f1_difference.size(); ++i) sum += f1_difference[pick(engine)];
    means.push_back(sum / f1_difference.size());
  }
  const double mean = std::accumulate(means.begin(), means.end(), 0.0) / means.size();
  double variance = 0;
  for (double value : means) variance += (value - mean) * (value - mean) / (means.size() - 1);
  const double error = std::sqrt(variance);
  std::printf(
      "%zu questions: %d answers differ from ONNX Runtime's, %d from our own in another order of sums; F1 "
      "%.3f "
      "and %.3f, standard error of the difference %.3f\n",
      ours.size(), found, floor, our_f1, their_f1, error);
  EXPECT_GT(our_f1, 60.0);
  EXPECT_GT(floor, 0) << "reordering the features has not reached the sums";
  EXPECT_LE(found, 1.2 * floor);
  EXPECT_LE(std::fabs(our_f1 - their_f1), 2 * error);
}

}  // namespace
}  // namespace qdqbert
