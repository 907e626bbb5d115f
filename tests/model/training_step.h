// One step of a small model with fixed ranges, dropout and every kind of gradient.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "qdqbert/model/heads.h"
#include "qdqbert/nn/autocast.h"
#include "qdqbert/nn/dropout.h"

namespace qdqbert::model {

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

  /// Loss, then gradients of all parameters. `bf16`: the forward pass under autocast, the backward pass
  /// behind it, as trainers have it.
  std::vector<at::Tensor> run(const ForwardOptions& options = {}, bool bf16 = false) {
    model->zero_grad();
    nn::begin_dropout(8, 3);
    at::Tensor loss;
    {
      std::optional<nn::HalfAutocast> autocast;
      if (bf16) autocast.emplace();
      loss = model->forward(inputs, options).loss;
    }
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

inline void expect_same_bits(const Step& step, const std::vector<at::Tensor>& a,
                             const std::vector<at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].equal(b[i])) << step.name(i);
}

}  // namespace qdqbert::model
