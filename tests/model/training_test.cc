// What training needs of the layers: fused passes beside the general ones, and results that do not show how
// many threads there are.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "qdqbert/model/heads.h"
#include "qdqbert/nn/autocast.h"
#include "qdqbert/nn/dropout.h"
#include "qdqbert/nn/gemm.h"

namespace qdqbert::model {
namespace {

struct Shape {
  int64_t batch, length, hidden, heads, layers, intermediate;
};
constexpr Shape kTiny{3, 7, 24, 3, 2, 40};
// Enough tokens that long sums are cut into parts.
constexpr Shape kMedium{24, 100, 96, 4, 2, 256};

struct Step {
  std::shared_ptr<QDQBertForQuestionAnswering> model;
  ModelInputs inputs;

  explicit Step(const Shape& shape, double dropout = 0.1) {
    io::BertConfig config;
    config.vocab_size = 50;
    config.hidden_size = shape.hidden;
    config.num_attention_heads = shape.heads;
    config.num_hidden_layers = shape.layers;
    config.intermediate_size = shape.intermediate;
    config.max_position_embeddings = shape.length;
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout;
    model = std::make_shared<QDQBertForQuestionAnswering>(config);
    at::manual_seed(shape.hidden);
    {
      const at::NoGradGuard no_grad;
      for (auto& item : model->named_parameters())
        if (item.value().dim() == 2) item.value().copy_(at::randn(item.value().sizes()) * 0.15);
    }
    const int64_t count = shape.batch * shape.length;
    inputs.input_ids =
        ((at::arange(count, at::kLong) * 31).remainder(49) + 1).view({shape.batch, shape.length});
    inputs.attention_mask = at::ones_like(inputs.input_ids);
    inputs.attention_mask.slice(1, shape.length - 2).slice(0, 0, 2).zero_();
    inputs.start_positions = at::arange(shape.batch, at::kLong).remainder(shape.length);
    inputs.end_positions = (inputs.start_positions + 2).remainder(shape.length);
    fix_ranges();
    model->train();
  }

  void fix_ranges() {
    const at::NoGradGuard no_grad;
    for (const auto& item : model->named_quantizers()) {
      item.quantizer->disable_quant();
      item.quantizer->enable_calib();
    }
    model->forward(inputs);
    for (const auto& item : model->named_quantizers()) {
      item.quantizer->load_calib_amax();
      // Some of everything is clipped.
      item.quantizer->set_amax(item.quantizer->amax() * 0.7);
      item.quantizer->enable_quant();
      item.quantizer->disable_calib();
    }
  }

  /// Loss, then gradients of all parameters.
  std::vector<at::Tensor> run(const ForwardOptions& options = {}) {
    model->zero_grad();
    nn::begin_dropout(8, 3);
    const at::Tensor loss = model->forward(inputs, options).loss;
    loss.backward();
    std::vector<at::Tensor> all = {loss.detach().clone()};
    for (const auto& item : model->named_parameters()) {
      const at::Tensor& gradient = item.value().grad();
      all.push_back(gradient.defined() ? gradient.clone() : at::zeros_like(item.value()));
    }
    nn::set_dropout_position({});
    return all;
  }

  std::string name(size_t index) const {
    return index == 0 ? "loss" : model->named_parameters().keys()[index - 1];
  }
};

class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before_); }

 private:
  int before_;
};

void expect_same_bits(const Step& step, const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i])) << step.name(i);
}

TEST(Training, BitsDoNotDependOnThreads) {
  if (!nn::has_gemm()) GTEST_SKIP() << "only oneDNN's products are promised to";
  for (const Shape& shape : {kTiny, kMedium}) {
    for (const bool quantizes : {true, false}) {
      for (const bool bf16 : {false, true}) {
        if (bf16 && !nn::has_bf16_gemm()) continue;
        SCOPED_TRACE(::testing::Message()
                     << shape.hidden << (quantizes ? " QAT" : " float") << (bf16 ? " BF16" : ""));
        Step step(shape);
        if (!quantizes)
          for (const auto& item : step.model->named_quantizers()) item.quantizer->disable();
        std::optional<nn::Bf16Autocast> autocast;
        if (bf16) autocast.emplace();
        std::vector<std::vector<at::Tensor>> results;
        for (const int threads : {1, 2, 3}) {
          const Threads set(threads);
          results.push_back(step.run());
        }
        EXPECT_GT(results[0][5].abs().max().item<double>(), 0);
        expect_same_bits(step, results[0], results[1]);
        expect_same_bits(step, results[0], results[2]);
      }
    }
  }
}

TEST(Training, RepeatedLayersGiveTheSameBits) {
  Step step(kTiny, 0.2);
  ForwardOptions again;
  again.gradient_checkpointing = true;
  expect_same_bits(step, step.run(), step.run(again));
}

TEST(Training, FusedPassesEqualTheGeneralOnes) {
  for (const double dropout : {0.0, 0.2}) {
    for (const auto arithmetic : {quant::Arithmetic::kToolkit, quant::Arithmetic::kAffine}) {
      Step step(kTiny, dropout);
      ForwardOptions fused, general;
      fused.arithmetic = general.arithmetic = arithmetic;
      // Who watches quantizers sees every tensor, so nothing is fused.
      int seen = 0;
      general.tap = [&](const std::string&, const at::Tensor&) { ++seen; };
      const auto ours = step.run(fused), theirs = step.run(general);
      EXPECT_GT(seen, 0);
      for (size_t i = 0; i < ours.size(); ++i) {
        // Rounding of float32 sums of this size; a code that flipped would show a hundred times as much.
        EXPECT_LE((ours[i] - theirs[i]).abs().max().item<double>(),
                  2e-5 * std::max(1.0, theirs[i].abs().max().item<double>()))
            << step.name(i) << ", dropout " << dropout;
      }
    }
  }
}

TEST(Training, HeadMasksAndWantedProbabilitiesReachTheGradient) {
  Step step(kTiny, 0.0);
  step.inputs.head_mask = at::tensor({1.0F, 0.0F, 0.5F});
  ForwardOptions shown;
  shown.output_attentions = true;
  const auto fused = step.run(), general = step.run(shown);
  for (size_t i = 0; i < fused.size(); ++i) {
    EXPECT_LE((fused[i] - general[i]).abs().max().item<double>(),
              2e-5 * std::max(1.0, general[i].abs().max().item<double>()))
        << step.name(i);
  }
  const ModelOutputs outputs = step.model->forward(step.inputs, shown);
  EXPECT_TRUE(outputs.attentions.at(0).requires_grad());
}

}  // namespace
}  // namespace qdqbert::model
