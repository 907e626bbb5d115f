// Several processes do what one does: ranges, logits, training steps.
#include <cmath>

#include <gtest/gtest.h>

#include "qdqbert/model/heads.h"
#include "qdqbert/nn/state_dict.h"
#include "qdqbert/train/calibrate.h"
#include "qdqbert/train/trainer.h"

#include "tests/support/scratch_directory.h"
#include "tests/train/as_ranks.h"

namespace qdqbert::train {
namespace {

constexpr int64_t kVocabulary = 60, kTokens = 12, kSamples = 21;

std::shared_ptr<model::PreTrainedModel> small_model(const QuantOptions& options) {
  io::BertConfig config;
  config.vocab_size = kVocabulary;
  config.hidden_size = 16;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.intermediate_size = 32;
  config.max_position_embeddings = kTokens;
  config.hidden_dropout_prob = 0;
  config.attention_probs_dropout_prob = 0;
  auto model = model::make_model("QDQBertForQuestionAnswering", config, quant_defaults(options));
  model->init_weights(3);
  return model;
}

// Token ids as a function of the sample alone; the later, the larger the embeddings they meet.
model::ModelInputs inputs_of(std::span<const int64_t> samples) {
  const auto count = static_cast<int64_t>(samples.size());
  model::ModelInputs inputs;
  inputs.input_ids = at::empty({count, kTokens}, at::kLong);
  inputs.attention_mask = at::ones({count, kTokens}, at::kLong);
  inputs.start_positions = at::empty({count}, at::kLong);
  inputs.end_positions = at::empty({count}, at::kLong);
  for (int64_t row = 0; row < count; ++row) {
    const int64_t sample = samples[static_cast<size_t>(row)];
    for (int64_t t = 0; t < kTokens; ++t)
      inputs.input_ids[row][t] = (sample * 7 + t * t * 5 + 1) % kVocabulary;
    inputs.start_positions[row] = sample % kTokens;
    inputs.end_positions[row] = sample * 5 % kTokens;
  }
  return inputs;
}

class Samples : public TrainingData {
 public:
  int64_t size() const override { return kSamples; }
  int64_t length(int64_t) const override { return kTokens; }
  model::ModelInputs batch(std::span<const int64_t> samples, int64_t) override { return inputs_of(samples); }
};

void calibrate_on(model::PreTrainedModel& model, const QuantOptions& options, int64_t batches,
                  ProcessGroup* group) {
  constexpr int64_t kBatch = 3;
  const int64_t size = group ? group->size() : 1, rank = group ? group->rank() : 0;
  int64_t round = 0;
  const auto source = [&]() -> std::optional<CalibrationBatch> {
    if (round * size >= batches) return std::nullopt;
    const int64_t mine = round++ * size + rank;
    const bool counts = mine < batches;
    std::vector<int64_t> samples(kBatch);
    for (int64_t i = 0; i < kBatch; ++i)
      samples[static_cast<size_t>(i)] = counts ? mine * kBatch + i : 1000 + i;
    return CalibrationBatch{counts ? kBatch : 0, inputs_of(samples)};
  };
  const int64_t seen = calibrate(model, source, batches * kBatch, options, {}, group);
  if (seen != batches * kBatch) fail("{} samples were seen, {} were given", seen, batches * kBatch);
}

bool have_equal_ranges(const model::PreTrainedModel& a, const model::PreTrainedModel& b) {
  const auto ours = a.named_quantizers(), theirs = b.named_quantizers();
  for (size_t i = 0; i < ours.size(); ++i)
    if (!ours[i].quantizer->amax().equal(theirs[i].quantizer->amax())) {
      std::fprintf(stderr, "%s differs\n", ours[i].name.c_str());
      return false;
    }
  return !ours.empty();
}

TEST(SharedWork, RangesAreThoseOfOneProcess) {
  for (const CalibrationMethod method : {CalibrationMethod::kMax, CalibrationMethod::kPercentile,
                                         CalibrationMethod::kMse, CalibrationMethod::kEntropy})
    as_ranks(2, [&](ProcessGroup& group) {
      QuantOptions options;
      options.calibrator = method;
      if (method == CalibrationMethod::kPercentile) options.percentile = 99.5;
      const auto alone = small_model(options), together = small_model(options);
      calibrate_on(*alone, options, 5, nullptr);
      calibrate_on(*together, options, 5, &group);
      return have_equal_ranges(*alone, *together);
    });
}

struct Outcome {
  std::vector<double> losses;
  std::vector<at::Tensor> weights;
};

Outcome train(model::PreTrainedModel& model, int64_t batch, ProcessGroup* group,
              const std::filesystem::path& place) {
  struct Losses : TrainingObserver {
    std::vector<double> values;
    void on_step(const StepReport& report) override { values.push_back(report.loss); }
  } losses;
  Samples samples;
  TrainerOptions options;
  options.batch_size = batch;
  options.num_train_epochs = 2;
  options.learning_rate = 1e-3;
  options.save_steps = 0;
  TrainerHooks hooks;
  hooks.observers = {&losses};
  hooks.group = group;
  Trainer trainer(model, samples, options, hooks, place);
  trainer.run();
  Outcome result{losses.values, {}};
  for (const nn::NamedTensor& item : nn::state_dict(model)) result.weights.push_back(item.tensor.clone());
  return result;
}

// 21 samples in batches of 8: the last batch of a pass holds 5, so that the ranks weigh differently.
TEST(SharedWork, TrainingStepsAreThoseOfOneProcess) {
  const ScratchDirectory scratch;
  for (const bool quantized : {false, true})
    as_ranks(2, [&](ProcessGroup& group) {
      QuantOptions options;
      options.disable = !quantized;
      const auto alone = small_model(options), together = small_model(options);
      for (const auto& model : {alone, together}) {
        calibrate_on(*model, options, 3, nullptr);
        configure_model(*model, options);
      }
      const std::filesystem::path place = scratch.path() / std::to_string(group.rank());
      const Outcome one = train(*alone, 8, nullptr, place), two = train(*together, 4, &group, place);
      if (one.losses.size() != two.losses.size() || one.losses.size() != 6) return false;
      // Sums of halves round differently from sums of wholes: a few units in the last place of a loss
      // around 2.5. Under quantization a code may flip later on, so there only the first loss is compared.
      const size_t compared = quantized ? 1 : one.losses.size();
      for (size_t step = 0; step < compared; ++step)
        if (std::abs(one.losses[step] - two.losses[step]) > 1e-5) {
          std::fprintf(stderr, "step %zu: %.9f and %.9f\n", step + 1, one.losses[step], two.losses[step]);
          return false;
        }
      // Both ranks end with the same bits.
      for (const at::Tensor& tensor : two.weights) {
        const at::Tensor most = tensor.to(at::kFloat).contiguous().clone();
        group.maximum(most);
        if (!most.equal(tensor.to(at::kFloat))) return false;
      }
      return true;
    });
}

// Rank 1 vanishes in the third step; rank 0 leaves a checkpoint of two and says why it stops.
TEST(SharedWork, ALostRankLeavesACheckpoint) {
  const ScratchDirectory scratch;
  as_ranks(2, [&](ProcessGroup& group) {
    struct Vanishing : TrainingObserver {
      int rank = 0;
      void before_step(int64_t step, int64_t) override {
        if (rank == 1 && step == 2) ::_exit(0);
      }
    } vanishing;
    vanishing.rank = group.rank();
    QuantOptions options;
    options.disable = true;
    const auto model = small_model(options);
    configure_model(*model, options);
    Samples samples;
    TrainerOptions trainer_options;
    trainer_options.batch_size = 4;
    trainer_options.save_steps = 0;
    TrainerHooks hooks;
    hooks.observers = {&vanishing};
    hooks.group = &group;
    Trainer trainer(*model, samples, trainer_options, hooks, scratch.path());
    try {
      trainer.run();
    } catch (const LostRank& error) {
      return std::filesystem::exists(scratch / "checkpoint-2" / "model.safetensors");
    }
    return false;
  });
}

}  // namespace
}  // namespace qdqbert::train
