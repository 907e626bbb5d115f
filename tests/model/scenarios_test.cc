// Examples of the original's documentation, by their id in tests/scenarios.md. Weights are random.
#include <cstdlib>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/model/heads_classification.h"
#include "qdqbert/model/heads_lm.h"
#include "qdqbert/text/encoding.h"

#include "tests/model/model_case.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::model {
namespace {

using testing::difference;

io::BertConfig small_config() {
  io::BertConfig config;
  config.hidden_size = 48;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.intermediate_size = 96;
  config.max_position_embeddings = 64;
  return config;
}

const text::Tokenizer& tokenizer() {
  static const text::Tokenizer uncased = text::Tokenizer::from_vocabulary(
      std::filesystem::path(QDQBERT_SOURCE_DIR) / "data/bert-base-uncased-vocab.txt");
  return uncased;
}

ModelInputs encoded(const std::vector<std::string>& first, const std::vector<std::string>& second = {}) {
  text::EncodeOptions options;
  options.padding = text::Padding::kLongest;
  const text::Batch batch = text::encode(tokenizer(), first, second, options);
  const auto tensor = [&](auto member) {
    std::vector<at::Tensor> rows;
    for (const text::Encoding& feature : batch.features) {
      const auto& values = feature.*member;
      rows.push_back(at::tensor(std::vector<int64_t>(values.begin(), values.end())));
    }
    return at::stack(rows);
  };
  ModelInputs inputs;
  inputs.input_ids = tensor(&text::Encoding::ids);
  inputs.token_type_ids = tensor(&text::Encoding::type_ids);
  inputs.attention_mask = tensor(&text::Encoding::attention_mask);
  return inputs;
}

template <class Model>
std::shared_ptr<Model> random_model(const io::BertConfig& config, const nn::QuantDefaults& defaults = {}) {
  auto model = std::make_shared<Model>(config, defaults);
  model->init_weights(11);
  return model;
}

TEST(Scenarios, S1_DefaultQuantizersAreReadOnceAtConstruction) {
  nn::QuantDefaults defaults;
  defaults.input.calib_method = quant::CalibMethod::kMax;
  defaults.weight.axis = quant::Axis::tuple({0});
  const QDQBertModel model(small_config(), defaults);
  const auto texts = [&] {
    std::vector<std::string> all;
    for (const NamedQuantizer& item : model.named_quantizers()) {
      all.push_back(item.quantizer->to_string());
      EXPECT_EQ(item.quantizer->axis().has_value(), item.name.ends_with("_weight_quantizer")) << item.name;
    }
    return all;
  };
  const auto before = texts();
  EXPECT_EQ(before.size(), 40U);
  EXPECT_EQ(before[0],
            "TensorQuantizer(8bit fake per-tensor amax=dynamic calibrator=MaxCalibrator scale=1.0 quant)");
  EXPECT_EQ(before[1],
            "TensorQuantizer(8bit fake axis=(0,) amax=dynamic calibrator=MaxCalibrator scale=1.0 quant)");
  defaults.input.num_bits = 4;
  defaults.weight.axis.reset();
  EXPECT_EQ(texts(), before);
}

TEST(Scenarios, S2_CalibrationByHandOverInputQuantizers) {
  const auto model = random_model<QDQBertModel>(small_config());
  const at::NoGradGuard no_grad;
  const auto for_inputs = [&](const auto& change) {
    int count = 0;
    for (const NamedQuantizer& item : model->named_quantizers()) {
      if (!item.name.ends_with("_input_quantizer")) continue;
      change(*item.quantizer);
      ++count;
    }
    return count;
  };
  const int count = for_inputs([](nn::TensorQuantizer& quantizer) {
    quantizer.enable_calib();
    quantizer.disable_quant();
  });
  EXPECT_EQ(count, 14 * small_config().num_hidden_layers) << "matmul and add quantizers have the suffix too";
  for (const char* text :
       {"Hello, my dog is cute", "The sky is blue due to the shorter wavelength of blue light."}) {
    model->forward(encoded({text}));
  }
  for_inputs([](nn::TensorQuantizer& quantizer) {
    quantizer.load_calib_amax();
    quantizer.enable_quant();
    quantizer.disable_calib();
  });
  for (const NamedQuantizer& item : model->named_quantizers()) {
    EXPECT_EQ(item.quantizer->has_amax(), item.name.ends_with("_input_quantizer")) << item.name;
  }
  const ModelInputs inputs = encoded({"Hello, my dog is cute"});
  const at::Tensor quantized = model->forward(inputs).last_hidden_state;
  EXPECT_TRUE(at::equal(quantized, model->forward(inputs).last_hidden_state)) << "stored ranges do not move";

  // The first query projection, recomputed from the stored range and the row maxima of its weight.
  const nn::QuantLinear& query = *model->encoder->layers[0]->attention->self->query;
  at::Tensor seen;
  ForwardOptions options;
  options.tap = [&](const std::string& name, const at::Tensor& x) {
    if (name == "encoder.layer.0.attention.self.matmul_q_input_quantizer") seen = x;
  };
  options.output_hidden_states = true;
  const ModelOutputs tapped = model->forward(inputs, options);
  EXPECT_TRUE(at::equal(tapped.last_hidden_state, quantized)) << "a tap changes nothing";
  const auto fake = [](const at::Tensor& x, const at::Tensor& amax) {
    const at::Tensor scale = 127.0F / amax;
    return (x * scale).round().clamp(-128, 127) / scale;
  };
  const at::Tensor amax = const_cast<nn::QuantLinear&>(query).input_quantizer().amax();
  const at::Tensor expected = at::linear(fake(tapped.hidden_states[0], amax),
                                         fake(query.weight, query.weight.abs().amax({1}, true)), query.bias);
  EXPECT_EQ(difference(seen.flatten(0, 1), expected.flatten(0, 1), 1e-5), "");

  for (const NamedQuantizer& item : model->named_quantizers()) item.quantizer->disable();
  EXPECT_NE(difference(model->forward(inputs).last_hidden_state, quantized, 1e-4), "");
}

TEST(Scenarios, S4_DefaultConfigurationToModelAndBack) {
  const io::BertConfig config;
  EXPECT_EQ(config.pad_token_id, 1);
  EXPECT_EQ(config.bos_token_id, 0);
  EXPECT_EQ(config.eos_token_id, 2);
  EXPECT_EQ(config.hidden_size, 768);
  EXPECT_EQ(config.num_hidden_layers, 12);
  const auto model = random_model<QDQBertModel>(config);
  EXPECT_EQ(io::to_json(model->config()), io::to_json(config));
  EXPECT_EQ(io::to_json(io::parse_config(io::to_json(config), "round trip")), io::to_json(config));
  EXPECT_FALSE(model->is_training());
  EXPECT_EQ(model->embeddings->word_embeddings->weight[1].abs().max().item<float>(), 0.0F);
  EXPECT_GT(model->embeddings->word_embeddings->weight[0].abs().max().item<float>(), 0.0F);
}

TEST(Scenarios, S5_BaseModelOnASentence) {
  const auto model = random_model<QDQBertModel>(small_config());
  const at::NoGradGuard no_grad;
  const ModelInputs inputs = encoded({"Hello, my dog is cute"});
  const ModelOutputs outputs = model->forward(inputs);
  EXPECT_EQ(inputs.input_ids.sizes().vec(), (std::vector<int64_t>{1, 8}));
  EXPECT_EQ(outputs.last_hidden_state.sizes().vec(), (std::vector<int64_t>{1, 8, 48}));
  EXPECT_EQ(outputs.pooler_output.sizes().vec(), (std::vector<int64_t>{1, 48}));
  EXPECT_TRUE(outputs.hidden_states.empty() && outputs.attentions.empty() && outputs.past_key_values.empty());
}

TEST(Scenarios, S6_CausalModelDoesNotLookAhead) {
  io::BertConfig config = small_config();
  config.is_decoder = true;
  const auto model = random_model<QDQBertLMHeadModel>(config);
  // Dynamic ranges depend on every token, so they are fixed first.
  for (const NamedQuantizer& item : model->named_quantizers()) item.quantizer->set_amax(4.0);
  const at::NoGradGuard no_grad;
  ModelInputs inputs = encoded({"Hello, my dog is cute"});
  const at::Tensor before = model->forward(inputs).logits;
  EXPECT_EQ(before.sizes().vec(), (std::vector<int64_t>{1, 8, config.vocab_size}));
  inputs.input_ids[0][6] = 2000;
  const at::Tensor after = model->forward(inputs).logits;
  EXPECT_EQ(difference(after.slice(1, 0, 6), before.slice(1, 0, 6), 1e-5), "");
  EXPECT_NE(difference(after.slice(1, 6), before.slice(1, 6), 1e-3), "");
}

TEST(Scenarios, S7_MaskedTokenLoss) {
  const auto model = random_model<QDQBertForMaskedLM>(small_config());
  ModelInputs inputs = encoded({"The capital of France is [MASK]."});
  const at::Tensor masked = inputs.input_ids.eq(tokenizer().mask_id());
  EXPECT_EQ(masked.sum().item<int64_t>(), 1);
  inputs.labels = at::where(masked, encoded({"The capital of France is Paris."}).input_ids,
                            at::full_like(inputs.input_ids, -100));
  const ModelOutputs outputs = model->forward(inputs);
  const at::Tensor logits = outputs.logits.masked_select(masked.unsqueeze(-1));
  const int64_t label = inputs.labels.max().item<int64_t>();
  EXPECT_NEAR(outputs.loss.item<double>(), -at::log_softmax(logits, 0)[label].item<double>(), 1e-5);
}

TEST(Scenarios, S8_S9_SequenceClassificationSettlesOnAProblemType) {
  io::BertConfig config = small_config();
  config.set_num_labels(3);
  ModelInputs inputs = encoded({"Hello, my dog is cute"});
  const auto single = random_model<QDQBertForSequenceClassification>(config);
  inputs.labels = at::tensor({int64_t{1}});
  const ModelOutputs one = single->forward(inputs);
  EXPECT_NEAR(one.loss.item<double>(), -at::log_softmax(one.logits, 1)[0][1].item<double>(), 1e-6);
  EXPECT_EQ(single->config().problem_type, io::ProblemType::kSingleLabel);

  config.problem_type = io::ProblemType::kMultiLabel;
  const auto multi = random_model<QDQBertForSequenceClassification>(config);
  inputs.labels = at::tensor({0.0F, 1.0F, 1.0F}).unsqueeze(0);
  const ModelOutputs several = multi->forward(inputs);
  const at::Tensor p = at::sigmoid(several.logits);
  const at::Tensor terms = inputs.labels * p.log() + (1 - inputs.labels) * (1 - p).log();
  EXPECT_NEAR(several.loss.item<double>(), -terms.mean().item<double>(), 1e-5);
}

TEST(Scenarios, S10_NextSentenceAcceptsTheDeprecatedLabelName) {
  const auto model = random_model<QDQBertForNextSentencePrediction>(small_config());
  ModelInputs inputs = encoded({"In Italy, pizza served in formal settings is presented unsliced."},
                               {"The sky is blue due to the shorter wavelength of blue light."});
  inputs.labels = at::tensor({int64_t{1}});
  const double loss = model->forward(inputs).loss.item<double>();
  ModelInputs deprecated = inputs;
  deprecated.labels = at::tensor({int64_t{0}});
  deprecated.next_sentence_label = inputs.labels;
  EXPECT_EQ(model->forward(deprecated).loss.item<double>(), loss);
}

TEST(Scenarios, S11_MultipleChoiceOfTwo) {
  const auto model = random_model<QDQBertForMultipleChoice>(small_config());
  const std::string prompt = "In Italy, pizza served in formal settings is presented unsliced.";
  ModelInputs inputs =
      encoded({prompt, prompt}, {"It is eaten with a fork and a knife.", "It is eaten while held."});
  for (at::Tensor* tensor : {&inputs.input_ids, &inputs.token_type_ids, &inputs.attention_mask}) {
    *tensor = tensor->unsqueeze(0);
  }
  inputs.labels = at::tensor({int64_t{0}});
  const ModelOutputs outputs = model->forward(inputs);
  EXPECT_EQ(outputs.logits.sizes().vec(), (std::vector<int64_t>{1, 2}));
  EXPECT_NEAR(outputs.loss.item<double>(), -at::log_softmax(outputs.logits, 1)[0][0].item<double>(), 1e-6);
}

TEST(Scenarios, S12_TokenClassificationOnItsOwnPredictions) {
  io::BertConfig config = small_config();
  config.set_num_labels(5);
  const auto model = random_model<QDQBertForTokenClassification>(config);
  ModelInputs inputs = encoded({"HuggingFace is a company based in Paris and New York"});
  inputs.labels = model->forward(inputs).logits.argmax(-1);
  const ModelOutputs outputs = model->forward(inputs);
  EXPECT_EQ(outputs.logits.size(2), 5);
  EXPECT_LT(outputs.loss.item<double>(), std::log(5.0));
}

TEST(Scenarios, S13_QuestionAnsweringLossWithTargetsInsideAndOutside) {
  const auto model = random_model<QDQBertForQuestionAnswering>(small_config());
  ModelInputs inputs = encoded({"Who was Jim Henson?"}, {"Jim Henson was a nice puppet"});
  ASSERT_EQ(inputs.input_ids.size(1), 14) << "the documented targets 14 and 15 lie outside";
  const ModelOutputs plain = model->forward(inputs);
  EXPECT_EQ(plain.start_logits.sizes().vec(), (std::vector<int64_t>{1, 14}));
  EXPECT_FALSE(plain.loss.defined());
  inputs.start_positions = at::tensor({int64_t{14}});
  inputs.end_positions = at::tensor({int64_t{15}});
  EXPECT_TRUE(std::isnan(model->forward(inputs).loss.item<double>()));
  inputs.start_positions = at::tensor({int64_t{12}});
  inputs.end_positions = at::tensor({int64_t{13}});
  const double expected =
      -(at::log_softmax(plain.start_logits, 1)[0][12] + at::log_softmax(plain.end_logits, 1)[0][13])
           .item<double>() /
      2;
  EXPECT_NEAR(model->forward(inputs).loss.item<double>(), expected, 1e-5);
}

// The upstream test's numbers for bert-base-uncased with dynamic ranges;
// QDQBERT_BERT_BASE names its directory.
TEST(Scenarios, NumericAnchorOfTheUpstreamTest) {
  const char* directory = std::getenv("QDQBERT_BERT_BASE");
  if (directory == nullptr) GTEST_SKIP() << "QDQBERT_BERT_BASE names no checkpoint";
  nn::QuantDefaults defaults;
  defaults.weight.axis = quant::Axis::tuple({0});
  const LoadedModel loaded = load_model("QDQBertModel", directory, defaults);
  const at::NoGradGuard no_grad;
  ModelInputs inputs;
  inputs.input_ids =
      at::tensor(std::vector<int64_t>{0, 345, 232, 328, 740, 140, 1695, 69, 6078, 1588, 2}).unsqueeze(0);
  inputs.attention_mask = at::ones_like(inputs.input_ids);
  inputs.attention_mask[0][0] = 0;
  const at::Tensor out = loaded.model->forward(inputs).last_hidden_state;
  const at::Tensor expected =
      at::tensor({0.4571F, -0.0735F, 0.8594F, 0.2774F, -0.0278F, 0.8794F, 0.3548F, -0.0473F, 0.7593F})
          .view({3, 3});
  EXPECT_EQ(out.sizes().vec(), (std::vector<int64_t>{1, 11, 768}));
  EXPECT_EQ(difference(out[0].slice(0, 1, 4).slice(1, 1, 4).contiguous(), expected, 1e-4), "");
}

}  // namespace
}  // namespace qdqbert::model
