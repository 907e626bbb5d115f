// The task classes, and how one of them is made from its name.
#pragma once

#include <span>
#include <string_view>

#include "qdqbert/model/bert_model.h"

namespace qdqbert::model {

/// One field of a class's output, in the order of its structured form.
enum class OutputField {
  kLoss,
  kLogits,
  kStartLogits,
  kEndLogits,
  kLastHiddenState,
  kPoolerOutput,
  kHiddenStates,
  kPastKeyValues,
  kAttentions,
  kCrossAttentions,
};
std::string_view name_of(OutputField field);  ///< "start_logits", ...

/// A row of the registry: everything that differs from class to class outside its forward pass.
struct HeadSpec {
  std::string_view class_name;
  bool has_pooler;
  std::vector<OutputField> fields;        ///< order of the structured form
  std::vector<OutputField> tuple_fields;  ///< order of the tuple form
  std::vector<std::string_view> labels;   ///< names of the label arguments, all needed for a loss
  std::shared_ptr<PreTrainedModel> (*make)(const io::BertConfig& config, const nn::QuantDefaults& defaults);
};

/// All classes.
std::span<const HeadSpec> head_specs();
/// Throws UsageError naming the classes that exist. Plain BERT's name of a class
/// ("BertForQuestionAnswering") will do.
const HeadSpec& head_spec(std::string_view class_name);

/// A model of that class with zero weights, in evaluation mode. Throws InputError for an impossible
/// configuration, UsageError for an unknown class.
std::shared_ptr<PreTrainedModel> make_model(std::string_view class_name, const io::BertConfig& config,
                                            const nn::QuantDefaults& defaults = {});

/// Whether the outputs hold the field.
bool has_field(const ModelOutputs& outputs, OutputField field);
/// The fields that are present, in structured or tuple order (the tuple of the base model keeps an empty slot
/// for an absent pooler output).
std::vector<OutputField> present_fields(const HeadSpec& spec, const ModelOutputs& outputs, bool tuple_form);

/// A class with the base model as child `bert`.
class HeadModel : public PreTrainedModel {
 public:
  QDQBertModel& base() override { return *bert; }
  std::string class_name() const override { return class_name_; }

  std::shared_ptr<QDQBertModel> bert;

 protected:
  HeadModel(std::string class_name, const io::BertConfig& config, const nn::QuantDefaults& defaults,
            bool has_pooler);
  /// Hidden states and attentions of the base model;
  /// sequence and pooled output are not part of a head's outputs.
  static ModelOutputs passed_on(ModelOutputs&& base_outputs);

 private:
  std::string class_name_;
};

/// `qa_outputs`: start and end logits. Loss: mean cross-entropy of both, positions clamped to [0, S],
/// S ignored; NaN when every row is ignored.
class QDQBertForQuestionAnswering : public HeadModel {
 public:
  explicit QDQBertForQuestionAnswering(const io::BertConfig& config, const nn::QuantDefaults& defaults = {});
  ModelOutputs forward(const ModelInputs& inputs, const ForwardOptions& options = {}) override;

  std::shared_ptr<nn::Linear> qa_outputs;
};

}  // namespace qdqbert::model
