#include "qdqbert/model/heads.h"

#include "qdqbert/base/error.h"
#include "qdqbert/model/heads_classification.h"
#include "qdqbert/model/heads_lm.h"
#include "qdqbert/model/losses.h"

namespace qdqbert::model {
namespace {

using enum OutputField;

template <class Model>
std::shared_ptr<PreTrainedModel> make(const io::BertConfig& config, const nn::QuantDefaults& defaults) {
  return std::make_shared<Model>(config, defaults);
}

std::shared_ptr<PreTrainedModel> make_base(const io::BertConfig& config, const nn::QuantDefaults& defaults) {
  return std::make_shared<QDQBertModel>(config, defaults, /*add_pooling_layer=*/true);
}

const std::vector<OutputField> kBaseFields = {kLastHiddenState, kPoolerOutput, kHiddenStates,
                                              kPastKeyValues,   kAttentions,   kCrossAttentions};
const std::vector<OutputField> kBaseTuple = {kLastHiddenState, kPoolerOutput, kPastKeyValues,
                                             kHiddenStates,    kAttentions,   kCrossAttentions};
const std::vector<OutputField> kLogitsFields = {kLoss, kLogits, kHiddenStates, kAttentions};
const std::vector<OutputField> kLogitsTuple = {kLoss,         kLogits,     kPastKeyValues,
                                               kHiddenStates, kAttentions, kCrossAttentions};
const std::vector<OutputField> kSpanFields = {kLoss, kStartLogits, kEndLogits, kHiddenStates, kAttentions};
const std::vector<OutputField> kSpanTuple = {kLoss,         kStartLogits, kEndLogits,      kPastKeyValues,
                                             kHiddenStates, kAttentions,  kCrossAttentions};

}  // namespace

std::string_view name_of(OutputField field) {
  switch (field) {
    case kLoss:
      return "loss";
    case kLogits:
      return "logits";
    case kStartLogits:
      return "start_logits";
    case kEndLogits:
      return "end_logits";
    case kLastHiddenState:
      return "last_hidden_state";
    case kPoolerOutput:
      return "pooler_output";
    case kHiddenStates:
      return "hidden_states";
    case kPastKeyValues:
      return "past_key_values";
    case kAttentions:
      return "attentions";
    case kCrossAttentions:
      return "cross_attentions";
  }
  return "";
}

std::span<const HeadSpec> head_specs() {
  static const std::vector<HeadSpec> specs = {
      {"QDQBertModel", true, kBaseFields, kBaseTuple, {}, make_base},
      {"QDQBertForQuestionAnswering",
       false,
       kSpanFields,
       kSpanTuple,
       {"start_positions", "end_positions"},
       make<QDQBertForQuestionAnswering>},
      {"QDQBertForSequenceClassification",
       true,
       kLogitsFields,
       kLogitsTuple,
       {"labels"},
       make<QDQBertForSequenceClassification>},
      {"QDQBertForTokenClassification",
       false,
       kLogitsFields,
       kLogitsTuple,
       {"labels"},
       make<QDQBertForTokenClassification>},
      {"QDQBertForMultipleChoice",
       true,
       kLogitsFields,
       kLogitsTuple,
       {"labels"},
       make<QDQBertForMultipleChoice>},
      {"QDQBertForNextSentencePrediction",
       true,
       kLogitsFields,
       kLogitsTuple,
       {"labels"},
       make<QDQBertForNextSentencePrediction>},
      {"QDQBertForMaskedLM", false, kLogitsFields, kLogitsTuple, {"labels"}, make<QDQBertForMaskedLM>},
      {"QDQBertLMHeadModel", false, kLogitsTuple, kLogitsTuple, {"labels"}, make<QDQBertLMHeadModel>},
  };
  return specs;
}

const HeadSpec& head_spec(std::string_view class_name) {
  std::string names;
  for (const HeadSpec& spec : head_specs()) {
    if (spec.class_name == class_name || spec.class_name.substr(3) == class_name) return spec;
    names += names.empty() ? "" : ", ";
    names += spec.class_name;
  }
  fail<UsageError>("[model] there is no class {}; there are {}", class_name, names);
}

std::shared_ptr<PreTrainedModel> make_model(std::string_view class_name, const io::BertConfig& config,
                                            const nn::QuantDefaults& defaults) {
  return head_spec(class_name).make(config, defaults);
}

bool has_field(const ModelOutputs& outputs, OutputField field) {
  switch (field) {
    case kLoss:
      return outputs.loss.defined();
    case kLogits:
      return outputs.logits.defined();
    case kStartLogits:
      return outputs.start_logits.defined();
    case kEndLogits:
      return outputs.end_logits.defined();
    case kLastHiddenState:
      return outputs.last_hidden_state.defined();
    case kPoolerOutput:
      return outputs.pooler_output.defined();
    case kHiddenStates:
      return !outputs.hidden_states.empty();
    case kPastKeyValues:
      return !outputs.past_key_values.empty();
    case kAttentions:
      return !outputs.attentions.empty();
    case kCrossAttentions:
      return !outputs.cross_attentions.empty();
  }
  return false;
}

std::vector<OutputField> present_fields(const HeadSpec& spec, const ModelOutputs& outputs, bool tuple_form) {
  std::vector<OutputField> present;
  for (const OutputField field : tuple_form ? spec.tuple_fields : spec.fields) {
    if (has_field(outputs, field) || (tuple_form && field == kPoolerOutput)) present.push_back(field);
  }
  return present;
}

HeadModel::HeadModel(std::string class_name, const io::BertConfig& config, const nn::QuantDefaults& defaults,
                     bool has_pooler)
    : PreTrainedModel(class_name.c_str(), config, defaults), class_name_(std::move(class_name)) {
  bert = register_module("bert", std::make_shared<QDQBertModel>(config_, defaults_, has_pooler));
}

ModelOutputs HeadModel::passed_on(ModelOutputs&& base_outputs) {
  ModelOutputs outputs;
  outputs.hidden_states = std::move(base_outputs.hidden_states);
  outputs.attentions = std::move(base_outputs.attentions);
  outputs.past_key_values = std::move(base_outputs.past_key_values);
  outputs.cross_attentions = std::move(base_outputs.cross_attentions);
  return outputs;
}

QDQBertForQuestionAnswering::QDQBertForQuestionAnswering(const io::BertConfig& config,
                                                         const nn::QuantDefaults& defaults)
    : HeadModel("QDQBertForQuestionAnswering", config, defaults, /*has_pooler=*/false) {
  qa_outputs =
      register_module("qa_outputs", std::make_shared<nn::Linear>(config.hidden_size, config.num_labels()));
  finish_construction();
}

ModelOutputs QDQBertForQuestionAnswering::forward(const ModelInputs& inputs, const ForwardOptions& options) {
  if (qa_outputs->out_features() != 2) {
    fail("[question answering] needs 2 labels (start and end), the configuration has {}",
         qa_outputs->out_features());
  }
  ModelOutputs base_outputs = bert->forward(inputs, options);
  const at::Tensor logits = qa_outputs->forward(base_outputs.last_hidden_state);
  ModelOutputs outputs = passed_on(std::move(base_outputs));
  outputs.start_logits = logits.select(-1, 0).contiguous();
  outputs.end_logits = logits.select(-1, 1).contiguous();
  if (inputs.start_positions.defined() && inputs.end_positions.defined()) {
    const int64_t length = outputs.start_logits.size(1);
    const auto loss_of = [&](const at::Tensor& position_logits, at::Tensor positions) {
      if (positions.dim() > 1) positions = positions.squeeze(-1);
      return cross_entropy(position_logits, positions.clamp(0, length), length);
    };
    outputs.loss = (loss_of(outputs.start_logits, inputs.start_positions) +
                    loss_of(outputs.end_logits, inputs.end_positions)) /
                   2;
  }
  return outputs;
}

}  // namespace qdqbert::model
