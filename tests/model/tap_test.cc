// Who watches the quantizers: sees everything, changes nothing.
#include <map>
#include <optional>

#include <gtest/gtest.h>

#include "qdqbert/nn/autocast.h"
#include "qdqbert/nn/gemm.h"

#include "tests/model/training_step.h"

namespace qdqbert::model {
namespace {

using Seen = std::vector<std::pair<std::string, at::Tensor>>;

ForwardOptions watched(ForwardOptions options, Seen& seen) {
  options.tap = [&seen](const std::string& name, const at::Tensor& x) {
    seen.emplace_back(name, x.detach());
  };
  return options;
}

std::vector<at::Tensor> results_of(Step& step, const ForwardOptions& options) {
  const at::NoGradGuard no_grad;
  nn::begin_dropout(8, 3);
  const ModelOutputs outputs = step.model->forward(step.inputs, options);
  nn::set_dropout_position({});
  std::vector<at::Tensor> all = {outputs.loss, outputs.start_logits, outputs.end_logits};
  for (const auto* more : {&outputs.hidden_states, &outputs.attentions})
    all.insert(all.end(), more->begin(), more->end());
  return all;
}

// How a model can be set so that its layers take another road.
struct Kind {
  const char* name;
  void (*set)(Step& step);
};

const Kind kKinds[] = {{"fixed ranges", [](Step&) {}},
                       {"dynamic ranges",
                        [](Step& step) {
                          for (const auto& item : step.model->named_quantizers())
                            if (item.name.ends_with("input_quantizer")) item.quantizer->replace_amax({});
                        }},
                       {"some quantizers off",
                        [](Step& step) {
                          for (const auto& item : step.model->named_quantizers())
                            if (item.name.find("matmul_a") != std::string::npos ||
                                item.name.find("add_local") != std::string::npos ||
                                item.name.find("query") != std::string::npos)
                              item.quantizer->disable();
                        }},
                       {"no quantizer", [](Step& step) {
                          for (const auto& item : step.model->named_quantizers()) item.quantizer->disable();
                        }}};

void each_setting(const std::function<void(Step&, const ForwardOptions&)>& body) {
  for (const Kind& kind : kKinds) {
    for (const double dropout : {0.0, 0.2}) {
      for (const auto arithmetic : {quant::Arithmetic::kToolkit, quant::Arithmetic::kAffine}) {
        for (const bool shows_attentions : {false, true}) {
          for (const bool bf16 : {false, true}) {
            if (bf16 && !nn::has_bf16_gemm()) continue;
            SCOPED_TRACE(::testing::Message()
                         << kind.name << ", dropout " << dropout
                         << (arithmetic == quant::Arithmetic::kAffine ? ", affine" : "")
                         << (shows_attentions ? ", attentions" : "") << (bf16 ? ", BF16" : ""));
            Step step(kTiny, dropout);
            kind.set(step);
            std::optional<nn::HalfAutocast> autocast;
            if (bf16) autocast.emplace();
            ForwardOptions options;
            options.arithmetic = arithmetic;
            options.output_attentions = shows_attentions;
            options.output_hidden_states = true;
            body(step, options);
          }
        }
      }
    }
  }
}

TEST(Tap, LeavesResultsTheirBits) {
  each_setting([](Step& step, const ForwardOptions& options) {
    for (const bool training : {true, false}) {
      step.model->train(training);
      Seen seen;
      const auto free = results_of(step, options), observed = results_of(step, watched(options, seen));
      ASSERT_EQ(free.size(), observed.size());
      for (size_t i = 0; i < free.size(); ++i)
        EXPECT_TRUE(free[i].equal(observed[i])) << "result " << i << (training ? ", training" : "");
    }
  });
}

TEST(Tap, LeavesGradientsTheirBits) {
  each_setting([](Step& step, const ForwardOptions& options) {
    Seen seen;
    expect_same_bits(step, step.run(options), step.run(watched(options, seen)));
    ForwardOptions again = options;
    again.gradient_checkpointing = true;
    Seen seen_once;
    expect_same_bits(step, step.run(again), step.run(watched(again, seen_once)));
    EXPECT_EQ(seen.size(), seen_once.size()) << "a layer that is recomputed is not shown again";
  });
}

// Keys and values are a cache here, positions are relative: roads that only decoders and such models take.
TEST(Tap, LeavesDecodersTheirBits) {
  for (const char* positions : {"absolute", "relative_key_query"}) {
    io::BertConfig config;
    config.vocab_size = 50;
    config.hidden_size = 24;
    config.num_attention_heads = 3;
    config.num_hidden_layers = 2;
    config.intermediate_size = 40;
    config.is_decoder = config.add_cross_attention = true;
    config.position_embedding_type = positions;
    const auto model = std::make_shared<QDQBertModel>(config);
    at::manual_seed(4);
    const at::NoGradGuard no_grad;
    for (auto& item : model->named_parameters())
      if (item.value().dim() == 2) item.value().copy_(at::randn(item.value().sizes()) * 0.15);
    model->eval();
    ModelInputs inputs;
    inputs.input_ids = (at::arange(14, at::kLong) * 31).remainder(49).view({2, 7}) + 1;
    inputs.encoder_hidden_states = at::randn({2, 7, 24});
    ForwardOptions options;
    options.use_cache = true;
    Seen seen;
    for (int round = 0; round < 2; ++round) {
      const ModelOutputs free = model->forward(inputs, options),
                         observed = model->forward(inputs, watched(options, seen));
      EXPECT_TRUE(free.last_hidden_state.equal(observed.last_hidden_state))
          << positions << ", round " << round;
      inputs.past_key_values = free.past_key_values;
      inputs.input_ids = inputs.input_ids.slice(1, 0, 3);
    }
    EXPECT_FALSE(seen.empty());
  }
}

// What a fused pass shows is what the general one quantizes: the ranges that calibration would find in it are
// those that it does find. Between the two lies the rounding of float32 sums.
TEST(Tap, ShowsWhatIsQuantized) {
  for (const double dropout : {0.0, 0.2}) {
    for (const bool learns : {true, false}) {
      Step step(kTiny, dropout);
      Seen fused, general;
      const auto run = [&](Seen& seen) {
        if (learns) {
          step.run(watched({}, seen));
        } else {
          results_of(step, watched({}, seen));
        }
      };
      run(fused);
      // A quantizer that calibrates collects whole tensors, so nothing is fused around it.
      size_t enabled = 0;
      for (const auto& item : step.model->named_quantizers()) {
        item.quantizer->enable_calib();
        enabled += item.quantizer->disabled() ? 0 : 1;
      }
      run(general);
      ASSERT_EQ(fused.size(), enabled) << "every quantizer, once";
      ASSERT_EQ(general.size(), enabled);
      for (size_t i = 0; i < fused.size(); ++i) {
        EXPECT_EQ(fused[i].first, general[i].first) << "in the order of their execution";
        ASSERT_EQ(fused[i].second.sizes(), general[i].second.sizes()) << fused[i].first;
        EXPECT_LE((fused[i].second - general[i].second).abs().max().item<double>(), 2e-5)
            << fused[i].first << ", dropout " << dropout << (learns ? ", learning" : "");
      }
    }
  }
}

// Kept until the end of the pass, the inputs are still what they were when they were shown.
TEST(Tap, MayKeepWhatItIsShown) {
  Step step(kTiny, 0.2);
  step.model->eval();
  Seen kept;
  std::vector<at::Tensor> copies;
  ForwardOptions options;
  options.tap = [&](const std::string& name, const at::Tensor& x) {
    kept.emplace_back(name, x);
    copies.push_back(x.detach().clone());
  };
  results_of(step, options);
  ASSERT_FALSE(kept.empty());
  for (size_t i = 0; i < kept.size(); ++i) EXPECT_TRUE(kept[i].second.equal(copies[i])) << kept[i].first;
}

}  // namespace
}  // namespace qdqbert::model
