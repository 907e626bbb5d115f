// A model on a device that is no host: what would go wrong on an accelerator
// goes wrong on the stand-in. device.
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/file.h"
#include "qdqbert/model/generation.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/model/onnx_export.h"
#include "qdqbert/nn/dropout.h"

#include "tests/support/device.h"
#include "tests/support/scratch_directory.h"
#include "tests/support/standin_device.h"

namespace qdqbert::model {
namespace {

using ::testing::HasSubstr;
using testing::standin_counts;
using testing::standin_device;
using ::testing::ThrowsMessage;

io::BertConfig tiny_config(double dropout = 0.1) {
  io::BertConfig config;
  config.vocab_size = 50;
  config.hidden_size = 24;
  config.num_attention_heads = 3;
  config.num_hidden_layers = 2;
  config.intermediate_size = 40;
  config.max_position_embeddings = 16;
  config.initializer_range = 0.2;
  config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout;
  return config;
}

ModelInputs on(ModelInputs inputs, at::Device device) {
  for (at::Tensor* tensor : {&inputs.input_ids, &inputs.attention_mask, &inputs.token_type_ids,
                             &inputs.labels, &inputs.start_positions, &inputs.end_positions})
    if (tensor->defined()) *tensor = tensor->to(device);
  return inputs;
}

ModelInputs question_batch() {
  ModelInputs inputs;
  inputs.input_ids = at::arange(27, at::kLong).mul(31).remainder(49).add(1).view({3, 9});
  inputs.attention_mask = at::ones_like(inputs.input_ids);
  inputs.attention_mask[0].slice(0, 7).zero_();
  inputs.token_type_ids = at::zeros_like(inputs.input_ids);
  inputs.start_positions = at::arange(3, at::kLong);
  inputs.end_positions = inputs.start_positions + 2;
  return inputs;
}

/// Ranges from one batch, as in the verbs; the weights of seed 5.
std::shared_ptr<PreTrainedModel> calibrated(const char* class_name, const ModelInputs& inputs,
                                            at::Device device, const io::BertConfig& config = tiny_config()) {
  const auto model = make_model(class_name, config, {});
  model->init_weights(5);
  testing::move_to(*model, device);
  const at::NoGradGuard no_grad;
  for (const NamedQuantizer& item : model->named_quantizers()) {
    item.quantizer->disable_quant();
    item.quantizer->enable_calib();
  }
  model->forward(on(inputs, device));
  for (const NamedQuantizer& item : model->named_quantizers()) {
    item.quantizer->load_calib_amax();
    item.quantizer->enable_quant();
    item.quantizer->disable_calib();
  }
  return model;
}

TEST(StandinDevice, RunsLibTorchsOwnKernels) {
  const at::Tensor x = at::randn({4, 6}), w = at::randn({5, 6});
  const at::Tensor there = x.to(standin_device()), weight = w.to(standin_device()).requires_grad_(true);
  const at::Tensor y = at::linear(there, weight).softmax(-1);
  EXPECT_TRUE(y.cpu().equal(at::linear(x, w).softmax(-1)));
  y.select(1, 2).sum().backward();
  const at::Tensor host = w.clone().requires_grad_(true);
  at::linear(x, host).softmax(-1).select(1, 2).sum().backward();
  EXPECT_TRUE(weight.grad().cpu().equal(host.grad()));
}

TEST(StandinDevice, ViewsShareMemoryAndWritesStay) {
  const at::Tensor there = at::zeros({3, 4}).to(standin_device());
  const at::Tensor row = there[1], columns = there.transpose(0, 1).slice(0, 1, 3);
  row.fill_(2);
  columns.add_(1);
  EXPECT_TRUE(there.is_same(at::Tensor(there).add_(0)));
  at::Tensor expected = at::zeros({3, 4});
  expected[1].fill_(2);
  expected.slice(1, 1, 3).add_(1);
  EXPECT_TRUE(there.cpu().equal(expected));
  at::Tensor grown = at::empty({0}, there.options());
  at::cat_out(grown, {there, there});
  EXPECT_TRUE(grown.cpu().equal(at::cat({expected, expected})));
}

TEST(StandinDevice, RefusesTensorsOfTwoDevices) {
  const at::Tensor there = at::ones({2, 3}).to(standin_device()), here = at::ones({2, 3});
  EXPECT_ANY_THROW(there + here);
  EXPECT_THAT([&] { at::mm(there, here.t()); },
              ThrowsMessage<c10::Error>(HasSubstr("aten::mm.out got its argument mat2 on cpu")));
  EXPECT_ANY_THROW(at::cat({there, here}));
  EXPECT_ANY_THROW(there.index_select(1, at::zeros({1}, at::kLong)));
  EXPECT_TRUE((there * at::scalar_tensor(2.0)).cpu().equal(here * 2)) << "a CPU tensor without dimensions";
  EXPECT_ANY_THROW(at::scalar_tensor(2.0).add_(there.select(0, 0).select(0, 0)));
}

TEST(StandinDeviceDeathTest, TheHostMayNotTouchItsMemory) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const at::Tensor there = at::ones({4}).to(standin_device());
  EXPECT_EXIT(static_cast<volatile float*>(there.data_ptr())[1], ::testing::KilledBySignal(SIGSEGV), "");
  EXPECT_EXIT(
      {
        (void)(there + there);
        static_cast<volatile float*>(there.data_ptr())[1] = 0;
      },
      ::testing::KilledBySignal(SIGSEGV), "");
}

TEST(StandinDevice, CountsWhatTheHostWaitsFor) {
  const at::Tensor there = at::ones({4}).to(standin_device());
  const auto before = standin_counts();
  (void)there.sum().item<float>();
  (void)there.equal(there);
  if (there.any().item<bool>()) (void)there.cpu();
  const auto counts = standin_counts() - before;
  EXPECT_EQ(counts.items, 3);
  EXPECT_EQ(counts.to_host, 1);
  EXPECT_EQ(counts.to_device, 0);
}

TEST(ModelOnDevice, AMaskLeftOnTheCpuIsRefused) {
  const ModelInputs inputs = question_batch();
  const auto model = calibrated("QDQBertForQuestionAnswering", inputs, standin_device());
  ModelInputs there = on(inputs, standin_device());
  EXPECT_NO_THROW(model->forward(there));
  for (at::Tensor ModelInputs::*field : {&ModelInputs::attention_mask, &ModelInputs::input_ids,
                                         &ModelInputs::token_type_ids, &ModelInputs::start_positions}) {
    ModelInputs mixed = there;
    mixed.*field = inputs.*field;
    EXPECT_THROW(model->forward(mixed), c10::Error);
  }
}

TEST(ModelOnDevice, StepsWaitForNothing) {
  const ModelInputs inputs = question_batch();
  struct Case {
    const char* class_name;
    at::Tensor labels;
    bool learns_ranges = false, checkpoints = false, relative = false;
  };
  const std::vector<Case> cases = {
      {"QDQBertForQuestionAnswering", {}},
      {"QDQBertForQuestionAnswering", {}, false, true},
      {"QDQBertForQuestionAnswering", {}, false, false, true},
      {"QDQBertForSequenceClassification", at::tensor({0, 1, 1}, at::kLong)},
      {"QDQBertForTokenClassification", at::ones({3, 9}, at::kLong)},
      {"QDQBertForMaskedLM", inputs.input_ids},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.class_name);
    ModelInputs batch = inputs;
    batch.labels = c.labels;
    io::BertConfig config = tiny_config();
    if (c.relative) config.position_embedding_type = "relative_key_query";
    const auto model = calibrated(c.class_name, batch, standin_device(), config);
    const ModelInputs there = on(batch, standin_device());
    ForwardOptions options;
    options.gradient_checkpointing = c.checkpoints;
    for (const bool trains : {true, false}) {
      model->train(trains);
      const auto step = [&] {
        const at::AutoGradMode gradients(trains);
        nn::begin_dropout(8, 3);
        const at::Tensor loss = model->forward(there, options).loss;
        if (trains) loss.backward();
      };
      step();  // reads the ranges, which stay as they are
      const auto before = standin_counts();
      step();
      const auto counts = standin_counts() - before;
      EXPECT_GT(counts.operators, 100);
      EXPECT_EQ(counts.items, 0) << (trains ? "training" : "evaluation");
      EXPECT_EQ(counts.to_host, 0) << (trains ? "training" : "evaluation");
      nn::set_dropout_position({});
    }
  }
}

TEST(ModelOnDevice, TrainsAsOnTheCpu) {
  const ModelInputs inputs = question_batch();
  std::vector<at::Tensor> results[2];
  for (const bool there : {false, true}) {
    const at::Device device = there ? standin_device() : at::Device(at::kCPU);
    const auto model = calibrated("QDQBertForQuestionAnswering", inputs, device);
    model->train();
    nn::begin_dropout(8, 3);
    const at::Tensor loss = model->forward(on(inputs, device)).loss;
    loss.backward();
    nn::set_dropout_position({});
    results[there].push_back(loss.detach().cpu());
    for (const at::Tensor& parameter : model->parameters())
      results[there].push_back(parameter.grad().defined() ? parameter.grad().cpu() : at::zeros({}));
  }
  ASSERT_EQ(results[0].size(), results[1].size());
  for (size_t i = 0; i < results[0].size(); ++i) {
    // The bound of the fused passes against the general ones (training_test.cc): a mask of other random
    // numbers or a code that flipped would show a hundred times as much.
    EXPECT_LE((results[0][i] - results[1][i]).abs().max().item<double>(),
              2e-5 * std::max(1.0, results[0][i].abs().max().item<double>()))
        << "tensor " << i;
  }
}

TEST(ModelOnDevice, WhatTheCpuRefusesBecomesNan) {
  const ModelInputs inputs = question_batch();
  const auto classifier = calibrated("QDQBertForTokenClassification", inputs, standin_device());
  const at::NoGradGuard no_grad;
  ModelInputs wrong_word = inputs, wrong_label = inputs;
  wrong_word.input_ids = inputs.input_ids.clone();
  wrong_word.input_ids[1][2] = 50;
  EXPECT_TRUE(classifier->forward(on(wrong_word, standin_device())).logits[1].isnan().all().item<bool>());
  EXPECT_FALSE(classifier->forward(on(wrong_word, standin_device())).logits[0].isnan().any().item<bool>());
  wrong_label.labels = at::ones({3, 9}, at::kLong);
  EXPECT_FALSE(classifier->forward(on(wrong_label, standin_device())).loss.isnan().item<bool>());
  wrong_label.labels[0][0] = 2;
  EXPECT_TRUE(classifier->forward(on(wrong_label, standin_device())).loss.isnan().item<bool>());
}

TEST(ModelOnDevice, IsSavedAndExportedAsFromTheCpu) {
  const ModelInputs inputs = question_batch();
  const auto here = calibrated("QDQBertForQuestionAnswering", inputs, at::kCPU);
  const auto there = make_model("QDQBertForQuestionAnswering", tiny_config(), {});
  testing::move_to(*there, standin_device());
  there->init_weights(5);
  for (size_t i = 0; i < there->parameters().size(); ++i)
    EXPECT_TRUE(there->parameters()[i].cpu().equal(here->parameters()[i])) << "initial parameter " << i;
  const ScratchDirectory scratch;
  save_model(*here, scratch.path() / "here");
  load_weights(*there, io::Checkpoint::open(scratch.path() / "here"));
  for (const NamedQuantizer& item : there->named_quantizers())
    EXPECT_EQ(item.quantizer->amax().device(), standin_device()) << item.name;
  save_model(*there, scratch.path() / "there");
  export_onnx(*here, scratch.path() / "here.onnx", {});
  export_onnx(*there, scratch.path() / "there.onnx", {});
  for (const char* file : {"/model.safetensors", ".onnx"})
    EXPECT_EQ(read_file(scratch.path().string() + "/here" + file),
              read_file(scratch.path().string() + "/there" + file))
        << file;
}

TEST(ModelOnDevice, ExportTakesMissingRangesFromASampleThere) {
  const ModelInputs inputs = question_batch();
  const auto model = make_model("QDQBertForQuestionAnswering", tiny_config(), {});
  model->init_weights(5);
  testing::move_to(*model, standin_device());
  const ModelInputs sample = on(inputs, standin_device());
  OnnxExportReport report;
  to_onnx(*model, {}, &sample, &report);
  EXPECT_FALSE(report.ranges_from_sample.empty());
  EXPECT_EQ(set_ranges_from_sample(*model, sample).empty(), false);
  EXPECT_NO_THROW(model->forward(sample));
}

TEST(ModelOnDevice, ForgetsHeadsAndContinuesTexts) {
  io::BertConfig config = tiny_config(0);
  config.is_decoder = true;
  const ModelInputs inputs = question_batch();
  at::Tensor logits[2];
  for (const bool on_device : {false, true}) {
    const at::Device device = on_device ? standin_device() : at::Device(at::kCPU);
    const auto model = make_model("QDQBertLMHeadModel", config, {});
    model->init_weights(5);
    testing::move_to(*model, device);
    model->prune_heads({{0, {1}}, {1, {0, 2}}});
    const at::NoGradGuard no_grad;
    const at::Tensor ids = inputs.input_ids.to(device);
    const ModelOutputs first = model->forward(prepare_causal_inputs(ids.slice(1, 0, 5), {}, {}));
    const PastKeyValues past = reorder_cache(first.past_key_values, at::tensor({2, 0, 1}, at::kLong));
    const ModelInputs next = prepare_causal_inputs(ids.slice(1, 0, 6), {}, past);
    logits[on_device] = model->forward(next).logits.cpu();
  }
  EXPECT_LE((logits[0] - logits[1]).abs().max().item<double>(), 2e-5 * logits[0].abs().max().item<double>());
}

TEST(ModelOnDevice, TakesOtherNumbersOfWords) {
  for (const bool tied : {true, false}) {
    for (const int64_t rows : {56, 50, 49}) {
      SCOPED_TRACE(fmt::format("{} rows, tied {}", rows, tied));
      io::BertConfig config = tiny_config(0);
      config.tie_word_embeddings = tied;
      at::Tensor words[2], gradients[2];
      double losses[2];
      for (const bool on_device : {false, true}) {
        const at::Device device = on_device ? standin_device() : at::Device(at::kCPU);
        const auto model = make_model("QDQBertForMaskedLM", config, {});
        model->init_weights(5);
        testing::move_to(*model, device);
        const auto before = standin_counts();
        model->resize_token_embeddings(rows, 0, 7);
        EXPECT_EQ((standin_counts() - before).items, 0);
        for (const auto& parameter : model->named_parameters())
          EXPECT_EQ(parameter.value().device().type(), device.type()) << parameter.key();

        ModelInputs inputs = question_batch();
        inputs.start_positions = inputs.end_positions = at::Tensor();
        inputs.input_ids.remainder_(rows);
        inputs.labels = inputs.input_ids;
        const at::Tensor loss = model->forward(on(inputs, device)).loss;
        loss.backward();
        losses[on_device] = loss.detach().cpu().item<double>();
        const at::Tensor table = model->named_parameters()["bert.embeddings.word_embeddings.weight"];
        words[on_device] = table.detach().cpu();
        gradients[on_device] = table.grad().cpu();
      }
      EXPECT_EQ(words[0].size(0), rows);
      EXPECT_TRUE(words[0].equal(words[1]));
      EXPECT_NEAR(losses[0], losses[1], 1e-5 * losses[0]);
      EXPECT_LE((gradients[0] - gradients[1]).abs().max().item<double>(),
                2e-5 * gradients[0].abs().max().item<double>());
    }
  }
}

}  // namespace
}  // namespace qdqbert::model
