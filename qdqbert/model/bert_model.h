// The base model: embeddings, encoder, pooler; and what all model classes share.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "qdqbert/io/bert_config.h"
#include "qdqbert/model/encoder.h"
#include "qdqbert/model/model_io.h"
#include "qdqbert/nn/linear.h"

namespace qdqbert::model {

class QDQBertModel;

struct NamedQuantizer {
  std::string name;  ///< module path, e.g. "bert.encoder.layer.0.attention.self.query._input_quantizer"
  std::shared_ptr<nn::TensorQuantizer> quantizer;
};

struct NamedLinear {
  std::string name;
  std::shared_ptr<nn::QuantLinear> linear;
};

/// A model class: the base model alone or under a head. Parameters are on the CPU in float32 after
/// construction. A model is for one calling thread at a time: quantizers collect, and layers keep their
/// quantized weights, in forward().
class PreTrainedModel : public torch::nn::Module {
 public:
  /// Throws InputError with one sentence when inputs contradict each other, the configuration or the tables.
  virtual ModelOutputs forward(const ModelInputs& inputs, const ForwardOptions& options = {}) = 0;
  /// "QDQBertForQuestionAnswering", as `architectures` in config.json has it.
  virtual std::string class_name() const = 0;
  /// The base model: this object itself, or its child `bert`.
  virtual QDQBertModel& base() = 0;
  const QDQBertModel& base() const { return const_cast<PreTrainedModel*>(this)->base(); }
  /// "bert." for classes with a head, "" for the base model.
  virtual std::string base_prefix() const { return "bert."; }
  /// Connects tied parameters again after one of them was replaced. Nothing to do for most classes.
  virtual void tie_weights() {}
  /// Parameter names that are another parameter under a second name, with that first name.
  virtual std::vector<std::pair<std::string, std::string>> tied_names() const { return {}; }
  /// After the word embeddings have changed their number of rows: output layers over the vocabulary follow.
  virtual void resize_output_embeddings(int64_t) {}

  const io::BertConfig& config() const { return config_; }
  /// For fields that do not change the shape of the model (dropout is fixed at construction).
  io::BertConfig& mutable_config() { return config_; }
  const nn::QuantDefaults& quant_defaults() const { return defaults_; }

  /// All quantizers in module order: 20 a layer, 34 with cross-attention.
  std::vector<NamedQuantizer> named_quantizers() const;
  /// All quantized linear layers in module order.
  std::vector<NamedLinear> named_quant_linears() const;
  /// Weights as the original initialises them: normal with initializer_range, biases 0, norms 1,
  /// padding row 0; then ties. `only`: names of the parameters to change, all when nullptr. A parameter's
  /// values depend on `seed` and its name alone.
  void init_weights(uint64_t seed, const std::set<std::string>* only = nullptr);
  /// Removes heads by layer, in the numbering before any pruning; config().pruned_heads grows. Quantizers and
  /// ranges stay. Throws InputError for a layer or head that does not exist.
  void prune_heads(const std::map<int64_t, std::set<int64_t>>& heads);
  /// New word embeddings with `rows` rows (rounded up to `multiple_of` when positive), the first
  /// ones copied, new ones normal from `seed`; the padding index is dropped and config().vocab_size
  /// follows. Equal size: nothing happens.
  void resize_token_embeddings(int64_t rows, int64_t multiple_of, uint64_t seed);

 protected:
  PreTrainedModel(const char* name, io::BertConfig config, nn::QuantDefaults defaults);
  /// To be called at the end of a class's constructor: configured pruning,
  /// names of quantizers, evaluation mode.
  void finish_construction();

  io::BertConfig config_;
  nn::QuantDefaults defaults_;
};

/// `embeddings`.
class Embeddings : public torch::nn::Module {
 public:
  explicit Embeddings(const io::BertConfig& config);
  at::Tensor forward(const ModelInputs& inputs, int64_t past_length);
  void replace_word_embeddings(const std::shared_ptr<Embedding>& table);

  std::shared_ptr<Embedding> word_embeddings, position_embeddings, token_type_embeddings;
  std::shared_ptr<LayerNorm> layer_norm;

 private:
  double dropout_;
  bool absolute_positions_;
};

/// `pooler`: tanh of a float linear layer on the first token.
class Pooler : public torch::nn::Module {
 public:
  explicit Pooler(const io::BertConfig& config);
  at::Tensor forward(const at::Tensor& hidden);

  std::shared_ptr<nn::Linear> dense;
};

class QDQBertModel : public PreTrainedModel {
 public:
  /// Weights are zero until init_weights or a checkpoint fills them. Throws InputError for
  /// a configuration that no model can have.
  explicit QDQBertModel(const io::BertConfig& config, const nn::QuantDefaults& defaults = {},
                        bool add_pooling_layer = true);

  ModelOutputs forward(const ModelInputs& inputs, const ForwardOptions& options = {}) override;
  std::string class_name() const override { return "QDQBertModel"; }
  QDQBertModel& base() override { return *this; }
  std::string base_prefix() const override { return ""; }

  std::shared_ptr<Embeddings> embeddings;
  std::shared_ptr<Encoder> encoder;
  std::shared_ptr<Pooler> pooler;  ///< nullptr without pooling layer
};

}  // namespace qdqbert::model
