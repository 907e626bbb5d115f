#include "qdqbert/model/heads_classification.h"

#include "qdqbert/base/error.h"
#include "qdqbert/base/log.h"
#include "qdqbert/model/losses.h"
#include "qdqbert/nn/dropout.h"

namespace qdqbert::model {
namespace {

at::Tensor dropped(const torch::nn::Module& module, const at::Tensor& x, double probability) {
  return module.is_training() && probability > 0 ? nn::dropout(x, probability) : x;
}

std::shared_ptr<nn::Linear> linear(const io::BertConfig& config, int64_t labels) {
  return std::make_shared<nn::Linear>(config.hidden_size, labels);
}

}  // namespace

QDQBertForSequenceClassification::QDQBertForSequenceClassification(const io::BertConfig& config,
                                                                   const nn::QuantDefaults& defaults)
    : HeadModel("QDQBertForSequenceClassification", config, defaults, /*has_pooler=*/true) {
  classifier = register_module("classifier", linear(config, config.num_labels()));
  finish_construction();
}

at::Tensor QDQBertForSequenceClassification::loss(const at::Tensor& logits, const at::Tensor& labels) {
  const int64_t count = config_.num_labels();
  if (!config_.problem_type) {
    const bool integers = labels.scalar_type() == at::kLong || labels.scalar_type() == at::kInt;
    config_.problem_type = count == 1 ? io::ProblemType::kRegression
                           : integers ? io::ProblemType::kSingleLabel
                                      : io::ProblemType::kMultiLabel;
  }
  switch (*config_.problem_type) {
    case io::ProblemType::kRegression: {
      const at::Tensor values = count == 1 ? logits.squeeze() : logits;
      const at::Tensor targets = (count == 1 ? labels.squeeze() : labels).to(logits.scalar_type());
      if (!values.sizes().equals(targets.sizes())) {
        fail("[loss] labels of shape {} do not fit logits of shape {}",
             to_string(Shape(targets.sizes().vec())), to_string(Shape(values.sizes().vec())));
      }
      return at::mse_loss(values, targets);
    }
    case io::ProblemType::kSingleLabel:
      return cross_entropy(logits.view({-1, count}), labels.reshape(-1));
    case io::ProblemType::kMultiLabel:
      if (!labels.is_floating_point())
        fail("[loss] several labels a text need floating point labels [batch, labels]");
      return at::binary_cross_entropy_with_logits(logits, labels);
  }
  return {};
}

ModelOutputs QDQBertForSequenceClassification::forward(const ModelInputs& inputs,
                                                       const ForwardOptions& options) {
  ModelOutputs base_outputs = bert->forward(inputs, options);
  const at::Tensor pooled = dropped(*this, base_outputs.pooler_output, config_.hidden_dropout_prob);
  ModelOutputs outputs = passed_on(std::move(base_outputs));
  outputs.logits = classifier->forward(pooled);
  if (inputs.labels.defined()) outputs.loss = loss(outputs.logits, inputs.labels);
  return outputs;
}

QDQBertForTokenClassification::QDQBertForTokenClassification(const io::BertConfig& config,
                                                             const nn::QuantDefaults& defaults)
    : HeadModel("QDQBertForTokenClassification", config, defaults, /*has_pooler=*/false) {
  classifier = register_module("classifier", linear(config, config.num_labels()));
  finish_construction();
}

ModelOutputs QDQBertForTokenClassification::forward(const ModelInputs& inputs,
                                                    const ForwardOptions& options) {
  ModelOutputs base_outputs = bert->forward(inputs, options);
  const at::Tensor sequence = dropped(*this, base_outputs.last_hidden_state, config_.hidden_dropout_prob);
  ModelOutputs outputs = passed_on(std::move(base_outputs));
  outputs.logits = classifier->forward(sequence);
  if (inputs.labels.defined()) {
    outputs.loss = cross_entropy(outputs.logits.view({-1, config_.num_labels()}), inputs.labels.reshape(-1));
  }
  return outputs;
}

QDQBertForMultipleChoice::QDQBertForMultipleChoice(const io::BertConfig& config,
                                                   const nn::QuantDefaults& defaults)
    : HeadModel("QDQBertForMultipleChoice", config, defaults, /*has_pooler=*/true) {
  classifier = register_module("classifier", linear(config, 1));
  finish_construction();
}

ModelOutputs QDQBertForMultipleChoice::forward(const ModelInputs& inputs, const ForwardOptions& options) {
  const at::Tensor& given = inputs.input_ids.defined() ? inputs.input_ids : inputs.inputs_embeds;
  if (!given.defined() || given.dim() < 3) {
    fail("[multiple choice] needs inputs of shape [batch, choices, tokens], got {}",
         given.defined() ? to_string(Shape(given.sizes().vec())) : "none");
  }
  const int64_t choices = given.size(1);
  ModelInputs flat = inputs;
  for (at::Tensor* tensor :
       {&flat.input_ids, &flat.attention_mask, &flat.token_type_ids, &flat.position_ids}) {
    if (tensor->defined()) *tensor = tensor->reshape({-1, tensor->size(-1)});
  }
  if (flat.inputs_embeds.defined()) {
    flat.inputs_embeds =
        flat.inputs_embeds.reshape({-1, flat.inputs_embeds.size(-2), flat.inputs_embeds.size(-1)});
  }
  ModelOutputs base_outputs = bert->forward(flat, options);
  const at::Tensor pooled = dropped(*this, base_outputs.pooler_output, config_.hidden_dropout_prob);
  ModelOutputs outputs = passed_on(std::move(base_outputs));
  outputs.logits = classifier->forward(pooled).view({-1, choices});
  if (inputs.labels.defined()) outputs.loss = cross_entropy(outputs.logits, inputs.labels);
  return outputs;
}

QDQBertForNextSentencePrediction::QDQBertForNextSentencePrediction(const io::BertConfig& config,
                                                                   const nn::QuantDefaults& defaults)
    : HeadModel("QDQBertForNextSentencePrediction", config, defaults, /*has_pooler=*/true) {
  const auto cls = register_module("cls", std::make_shared<torch::nn::Module>("QDQBertOnlyNSPHead"));
  seq_relationship = cls->register_module("seq_relationship", linear(config, 2));
  finish_construction();
}

ModelOutputs QDQBertForNextSentencePrediction::forward(const ModelInputs& inputs,
                                                       const ForwardOptions& options) {
  at::Tensor labels = inputs.labels;
  if (inputs.next_sentence_label.defined()) {
    log_warning("[next sentence] next_sentence_label is deprecated and overrides labels; use labels");
    labels = inputs.next_sentence_label;
  }
  ModelOutputs base_outputs = bert->forward(inputs, options);
  const at::Tensor pooled = base_outputs.pooler_output;
  ModelOutputs outputs = passed_on(std::move(base_outputs));
  outputs.logits = seq_relationship->forward(pooled);
  if (labels.defined()) outputs.loss = cross_entropy(outputs.logits.view({-1, 2}), labels.reshape(-1));
  return outputs;
}

}  // namespace qdqbert::model
