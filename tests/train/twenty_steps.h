// Twenty optimizer steps of a small model, on any device.
#pragma once

#include <cmath>
#include <functional>
#include <vector>

#include "qdqbert/model/heads.h"
#include "qdqbert/train/device.h"
#include "qdqbert/train/trainer.h"

#include "tests/support/scratch_directory.h"

namespace qdqbert::train {

class Sentences : public TrainingData {
 public:
  int64_t size() const override { return 64; }
  int64_t length(int64_t) const override { return 24; }
  model::ModelInputs batch(std::span<const int64_t> samples, int64_t) override {
    model::ModelInputs inputs;
    const auto rows = static_cast<int64_t>(samples.size());
    inputs.input_ids = at::empty({rows, 24}, at::kLong);
    inputs.labels = at::empty({rows}, at::kLong);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t sample = samples[static_cast<size_t>(r)];
      for (int64_t c = 0; c < 24; ++c) inputs.input_ids[r][c] = (sample * 31 + c * (3 + sample % 2)) % 200;
      inputs.labels[r] = sample % 2;
    }
    inputs.attention_mask = at::ones({rows, 24}, at::kLong);
    return inputs;
  }
};

struct Losses : TrainingObserver {
  std::vector<double> values;
  void on_step(const StepReport& report) override { values.push_back(report.loss); }
};

struct Setting {
  at::Device device = at::kCPU;
  bool quantized = false, fp16 = false, bf16 = false;
  int64_t parts = 1;  ///< batches that make the 16 samples of a step: another order of the same sums
  /// Moves the model; default: Module::to.
  std::function<void(torch::nn::Module&, at::Device)> move = nullptr;
  TrainingObserver* observer = nullptr;
};

inline std::vector<double> twenty_steps(const Setting& setting) {
  io::BertConfig config;
  config.vocab_size = 200;
  config.hidden_size = 64;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 4;
  config.intermediate_size = 128;
  config.max_position_embeddings = 32;
  config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0;
  const auto model = model::make_model("QDQBertForSequenceClassification", config);
  model->init_weights(5);
  if (setting.move)
    setting.move(*model, setting.device);
  else
    model->to(setting.device);
  Sentences data;
  const at::NoGradGuard no_grad;
  std::vector<int64_t> first(16);
  for (size_t i = 0; i < first.size(); ++i) first[i] = static_cast<int64_t>(i);
  for (const auto& item : model->named_quantizers()) {
    item.quantizer->disable_quant();
    item.quantizer->enable_calib();
  }
  model->forward(to_device(data.batch(first, 0), setting.device));
  for (const auto& item : model->named_quantizers()) {
    item.quantizer->load_calib_amax();
    item.quantizer->enable_quant();
    item.quantizer->disable_calib();
    if (!setting.quantized) item.quantizer->disable();
  }
  const at::AutoGradMode with_gradients(true);
  const ScratchDirectory scratch;
  TrainerOptions options;
  options.batch_size = 16 / setting.parts;
  options.accumulation_steps = setting.parts;
  options.max_steps = 20;
  options.shuffle = false;
  options.saving = Interval::kNo;
  options.learning_rate = 1e-3;
  options.fp16 = setting.fp16;
  options.bf16 = setting.bf16;
  Losses losses;
  TrainerHooks hooks;
  hooks.observers = {&losses};
  if (setting.observer) hooks.observers.push_back(setting.observer);
  Trainer(*model, data, options, hooks, scratch.path()).run();
  return losses.values;
}

inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

}  // namespace qdqbert::train
