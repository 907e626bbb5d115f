#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/model/generation.h"
#include "qdqbert/model/heads_lm.h"
#include "qdqbert/nn/dropout.h"
#include "qdqbert/nn/state_dict.h"

#include "tests/model/model_case.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::model {
namespace {

using testing::difference;

io::BertConfig tiny_config() {
  io::BertConfig config;
  config.vocab_size = 100;
  config.hidden_size = 32;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.intermediate_size = 64;
  config.max_position_embeddings = 40;
  config.initializer_range = 0.2;
  return config;
}

template <class Model = QDQBertModel>
std::shared_ptr<Model> make(const io::BertConfig& config = tiny_config()) {
  auto model = std::make_shared<Model>(config);
  model->init_weights(5);
  return model;
}

ModelInputs inputs_for(int64_t batch = 2, int64_t length = 9) {
  ModelInputs inputs;
  inputs.input_ids = at::arange(batch * length).remainder(97).add(2).view({batch, length});
  inputs.attention_mask = at::ones({batch, length}, at::kLong);
  inputs.attention_mask[0][length - 1] = 0;
  return inputs;
}

void fix_ranges(PreTrainedModel& model, const ModelInputs& inputs) {
  const at::NoGradGuard no_grad;
  for (const NamedQuantizer& item : model.named_quantizers()) {
    item.quantizer->disable_quant();
    item.quantizer->enable_calib();
  }
  model.forward(inputs);
  for (const NamedQuantizer& item : model.named_quantizers()) {
    item.quantizer->load_calib_amax();
    item.quantizer->enable_quant();
    item.quantizer->disable_calib();
  }
}

TEST(Model, TrainingAndInferencePathsAgree) {
  const auto model = make();
  const ModelInputs inputs = inputs_for();
  for (const bool calibrated : {false, true}) {
    if (calibrated) fix_ranges(*model, inputs);
    const at::Tensor with_gradients = model->forward(inputs).last_hidden_state;
    EXPECT_TRUE(with_gradients.requires_grad());
    const at::NoGradGuard no_grad;
    EXPECT_EQ(difference(model->forward(inputs).last_hidden_state, with_gradients.detach(), 2e-5), "")
        << calibrated;
    ForwardOptions options;
    options.output_attentions = true;
    const ModelOutputs outputs = model->forward(inputs, options);
    EXPECT_EQ(difference(outputs.last_hidden_state, with_gradients.detach(), 2e-5), "");
    EXPECT_EQ(difference(outputs.attentions[1].sum(-1), at::ones({2, 4, 9}), 1e-5), "");
  }
}

TEST(Model, TheResultDoesNotDependOnTheNumberOfThreads) {
  const auto model = make();
  const ModelInputs inputs = inputs_for(3, 40);
  fix_ranges(*model, inputs);
  const at::NoGradGuard no_grad;
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = model->forward(inputs).last_hidden_state;
  at::set_num_threads(3);
  EXPECT_EQ(difference(model->forward(inputs).last_hidden_state, one, 2e-5), "");
  at::set_num_threads(before);
}

TEST(Model, GradientCheckpointingGivesTheSameGradients) {
  for (const double dropout : {0.0, 0.3}) {
    io::BertConfig config = tiny_config();
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout;
    const auto model = make(config);
    const ModelInputs inputs = inputs_for();
    fix_ranges(*model, inputs);
    model->train();
    const auto gradients = [&](bool checkpointing) {
      model->zero_grad();
      nn::begin_dropout(3, 0);
      ForwardOptions options;
      options.gradient_checkpointing = checkpointing;
      const at::Tensor out = model->forward(inputs, options).last_hidden_state;
      out.square().sum().backward();
      std::vector<at::Tensor> all = {out.detach()};
      for (const auto& item : model->named_parameters()) {
        const at::Tensor& gradient = item.value().grad();
        all.push_back(gradient.defined() ? gradient.clone() : at::zeros_like(item.value()));
      }
      return all;
    };
    const auto plain = gradients(false), recomputed = gradients(true);
    ASSERT_EQ(plain.size(), recomputed.size());
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(difference(recomputed[i], plain[i], 1e-4), "") << i;
    EXPECT_GT(plain[3].abs().max().item<double>(), 0);
    nn::set_dropout_position({});
  }
}

TEST(Model, PruningEqualsMaskingHeadsAndKeepsQuantizers) {
  const auto model = make();
  const ModelInputs inputs = inputs_for();
  fix_ranges(*model, inputs);
  const at::NoGradGuard no_grad;
  ModelInputs masked = inputs;
  masked.head_mask = at::ones({2, 4});
  masked.head_mask[0][1] = masked.head_mask[1][0] = masked.head_mask[1][2] = 0;
  const at::Tensor expected = model->forward(masked).last_hidden_state;
  model->prune_heads({{0, {1}}, {1, {0}}});
  model->prune_heads({{1, {0, 2}}});
  EXPECT_EQ(model->named_quantizers().size(), 40U);
  EXPECT_EQ(model->encoder->layers[1]->attention->self->query->weight_quantizer().amax().size(0), 16);
  EXPECT_EQ(difference(model->forward(inputs).last_hidden_state, expected, 1e-4), "");
  EXPECT_EQ(model->config().pruned_heads, (std::map<int64_t, std::set<int64_t>>{{0, {1}}, {1, {0, 2}}}));

  // The configuration remembers, so a saved model loads in its pruned shape, ranges included.
  const ScratchDirectory scratch;
  save_model(*model, scratch.path());
  const LoadedModel again = load_model("QDQBertModel", scratch.path());
  EXPECT_EQ(
      difference(again.model->forward(inputs).last_hidden_state, model->forward(inputs).last_hidden_state),
      "");
  EXPECT_THROW(model->prune_heads({{5, {0}}}), InputError);
  EXPECT_THROW(model->prune_heads({{0, {9}}}), InputError);
  EXPECT_THROW(model->prune_heads({{0, {0, 1, 2, 3}}}), InputError);
}

TEST(Model, CachedStepsEqualTheWholeSequence) {
  for (const char* positions : {"absolute", "relative_key", "relative_key_query"}) {
    SCOPED_TRACE(positions);
    io::BertConfig config = tiny_config();
    config.is_decoder = config.add_cross_attention = true;
    config.position_embedding_type = positions;
    const auto model = make<QDQBertLMHeadModel>(config);
    ModelInputs whole = inputs_for(2, 6);
    whole.attention_mask = at::Tensor();
    whole.encoder_hidden_states = at::arange(2 * 9 * 32).remainder(13).div(6).view({2, 9, 32});
    fix_ranges(*model, whole);
    const at::NoGradGuard no_grad;
    const at::Tensor expected = model->forward(whole).logits;
    PastKeyValues past;
    int64_t known = 0;
    for (const int64_t length : {1, 2, 4, 5, 6}) {
      ModelInputs next;
      next.input_ids = whole.input_ids.slice(1, known, length);
      next.encoder_hidden_states = whole.encoder_hidden_states;
      next.past_key_values = past;
      const ModelOutputs outputs = model->forward(next);
      EXPECT_EQ(difference(outputs.logits, expected.slice(1, known, length), 2e-4), "") << length;
      past = outputs.past_key_values;
      known = length;
    }
    const PastKeyValues swapped = reorder_cache(past, at::tensor({int64_t{1}, int64_t{0}}));
    EXPECT_EQ(difference(swapped[1][0][0], past[1][0][1]), "");
  }
}

// M17
TEST(Model, GradientCheckpointingReturnsNoCache) {
  io::BertConfig config = tiny_config();
  config.is_decoder = true;
  const auto model = make<QDQBertLMHeadModel>(config);
  model->train();
  ForwardOptions options;
  options.use_cache = true;
  EXPECT_EQ(model->forward(inputs_for(), options).past_key_values.size(), 2u);
  options.gradient_checkpointing = true;
  EXPECT_TRUE(model->forward(inputs_for(), options).past_key_values.empty());
}

TEST(Model, TwoTensorCacheServesTheSelfAttentionAlone) {
  io::BertConfig config = tiny_config();
  config.is_decoder = config.add_cross_attention = true;
  const auto model = make(config);
  const at::NoGradGuard no_grad;
  ModelInputs inputs = inputs_for(2, 5);
  inputs.attention_mask = at::Tensor();
  const PastKeyValues self_only = model->forward(inputs).past_key_values;
  ASSERT_EQ(self_only[0].size(), 2U);
  ForwardOptions options;
  options.output_attentions = true;
  EXPECT_TRUE(model->forward(inputs, options).cross_attentions.empty());
  ModelInputs next = inputs_for(2, 1);
  next.attention_mask = at::Tensor();
  next.past_key_values = self_only;
  next.encoder_hidden_states = at::ones({2, 7, 32});
  const ModelOutputs outputs = model->forward(next, options);
  EXPECT_EQ(outputs.cross_attentions[0].sizes().vec(), (std::vector<int64_t>{2, 4, 1, 7}));
  EXPECT_EQ(outputs.past_key_values[0].size(), 4U);
}

TEST(Model, TiedWeightsAreOneTensor) {
  const auto model = make<QDQBertForMaskedLM>();
  const at::Tensor& words = model->bert->embeddings->word_embeddings->weight;
  EXPECT_TRUE(model->predictions->decoder->weight.is_same(words));
  ModelInputs inputs = inputs_for();
  inputs.labels = inputs.input_ids;
  model->forward(inputs).loss.backward();
  EXPECT_GT(words.grad()[50].abs().max().item<double>(), 0)
      << "a row that no token uses learns from the output layer";
  EXPECT_EQ(words[1].abs().max().item<float>(), 0.0F);

  io::BertConfig config = tiny_config();
  config.tie_word_embeddings = false;
  const auto untied = make<QDQBertForMaskedLM>(config);
  EXPECT_FALSE(
      untied->predictions->decoder->weight.is_same(untied->bert->embeddings->word_embeddings->weight));
}

TEST(Model, InitialisationIsFixedBySeedAndName) {
  const auto first = make(), second = make();
  for (size_t i = 0; i < first->parameters().size(); ++i) {
    EXPECT_TRUE(at::equal(first->parameters()[i], second->parameters()[i]));
  }
  second->init_weights(6);
  EXPECT_FALSE(at::equal(first->pooler->dense->weight, second->pooler->dense->weight));
}

TEST(Model, SavedHalfPrecisionKeepsRanges) {
  const auto model = make();
  fix_ranges(*model, inputs_for());
  const ScratchDirectory scratch;
  save_model(*model, scratch.path(), {io::SaveDType::kFloat16});
  const LoadedModel again = load_model("QDQBertModel", scratch.path());
  const auto before = model->named_quantizers(), after = again.model->named_quantizers();
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(difference(after[i].quantizer->amax(), before[i].quantizer->amax()), "") << before[i].name;
  }
  EXPECT_EQ(difference(again.model->base().pooler->dense->weight, model->pooler->dense->weight, 1e-3), "");
}

TEST(Model, ACheckpointOfAnotherSizeChangesNothing) {
  const auto model = make();
  const ScratchDirectory scratch;
  save_model(*model, scratch.path());
  io::BertConfig config = tiny_config();
  config.intermediate_size = 96;
  const auto other = make(config);
  const at::Tensor before = other->embeddings->word_embeddings->weight.detach().clone();
  EXPECT_THROW(load_weights(*other, io::Checkpoint::open(scratch.path())), InputError);
  EXPECT_TRUE(at::equal(other->embeddings->word_embeddings->weight, before));
}

TEST(Model, TheConfigurationNamesTheClass) {
  for (const HeadSpec& spec : head_specs()) {
    const ScratchDirectory scratch;
    const auto saved = make_model(spec.class_name, tiny_config());
    saved->init_weights(5);
    save_model(*saved, scratch.path());
    const LoadedModel loaded = load_auto_model(scratch.path());
    EXPECT_EQ(loaded.model->class_name(), spec.class_name);
    EXPECT_TRUE(loaded.report.missing.empty()) << spec.class_name;
  }
  io::BertConfig config = tiny_config();
  EXPECT_EQ(class_for(config, "f"), "QDQBertModel");
  config.architectures = {"BertForPreTraining"};
  EXPECT_EQ(class_for(config, "f"), "QDQBertForMaskedLM");
  config.architectures = {"Unheard", "BertForTokenClassification"};
  EXPECT_EQ(class_for(config, "f"), "QDQBertForTokenClassification");
  config.architectures = {"GPT2LMHeadModel"};
  EXPECT_THROW(class_for(config, "f"), InputError);
}

TEST(Model, RefusesUnknownClassesAndCrossAttentionInEncoders) {
  EXPECT_THROW(make_model("QDQBertForEverything", tiny_config()), UsageError);
  EXPECT_EQ(make_model("BertForQuestionAnswering", tiny_config())->class_name(),
            "QDQBertForQuestionAnswering");
  io::BertConfig config = tiny_config();
  config.add_cross_attention = true;
  EXPECT_THROW(make_model("QDQBertModel", config), InputError);
}

}  // namespace
}  // namespace qdqbert::model
