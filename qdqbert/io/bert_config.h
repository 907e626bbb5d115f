// config.json of a `bert` or `qdqbert` checkpoint: read with the original's
// defaults and rules, written in its form.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "qdqbert/base/json.h"
#include "qdqbert/io/activation.h"

namespace qdqbert::io {

enum class PositionEmbedding {
  kAbsolute,
  kRelativeKey,
  kRelativeKeyQuery,
  kNone,  ///< any other spelling in the file: no position information at all, as in the original
};

enum class ProblemType { kRegression, kSingleLabel, kMultiLabel };

/// Default member values are those of a fresh `qdqbert` configuration. Fields that are not here stay in
/// `extra` and are written back.
/// A label as text: texts as they are, numbers and truth values as JSON writes them; nullopt for anything else.
std::optional<std::string> label_text(const Json& label);

struct BertConfig {
  std::string model_type = "qdqbert";  ///< as read; writing always says "qdqbert"
  std::vector<std::string> architectures;

  int64_t vocab_size = 30522;
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  Activation hidden_act = Activation::kGelu;
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  int64_t max_position_embeddings = 512;
  int64_t type_vocab_size = 2;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  bool use_cache = true;
  std::optional<int64_t> pad_token_id = 1;
  std::optional<int64_t> bos_token_id = 0;
  std::optional<int64_t> eos_token_id = 2;

  bool is_decoder = false;
  bool add_cross_attention = false;
  /// Spelling in the file; nullopt when absent, which means "absolute".
  std::optional<std::string> position_embedding_type;
  std::map<int64_t, std::string> id2label = {{0, "LABEL_0"}, {1, "LABEL_1"}};
  /// The inverse of id2label, whatever the file's says; nullopt when the file gives id2label alone.
  std::optional<std::map<std::string, int64_t>> label2id = {{{"LABEL_0", 0}, {"LABEL_1", 1}}};
  std::optional<ProblemType> problem_type;
  bool output_attentions = false;
  bool output_hidden_states = false;
  bool return_dict = true;
  bool torchscript = false;
  bool tie_word_embeddings = true;
  std::map<int64_t, std::set<int64_t>> pruned_heads;  ///< layer to heads, in the unpruned numbering
  int64_t chunk_size_feed_forward = 0;                ///< kept, without effect in QDQBERT
  /// Legacy switch: true turns checkpointing on at construction and is not written again; false is kept.
  std::optional<bool> gradient_checkpointing;
  std::string torch_dtype;  ///< "float32", ...; empty when absent
  std::string transformers_version = "4.40.2";

  Json extra = Json::object();  ///< every other field of the file, untouched

  int64_t num_labels() const { return static_cast<int64_t>(id2label.size()); }
  /// Regenerates LABEL_0, LABEL_1, ... unless there are `count` labels already. Throws InputError below 1.
  void set_num_labels(int64_t count);
  /// Replaces both maps; the inverse is derived.
  void set_labels(const std::vector<std::string>& labels);
  /// Floor of hidden_size / num_attention_heads; exact unless the file has `embedding_size` (see validate()).
  int64_t head_size() const { return hidden_size / num_attention_heads; }
  PositionEmbedding position_embedding() const;
  bool use_return_dict() const { return return_dict && !torchscript; }

  /// Throws InputError with one sentence for sizes that are zero, negative or absurd, heads that do
  /// not divide the hidden size (allowed by the original when an `embedding_size` is present),
  /// probabilities outside [0, 1], a pad token outside the vocabulary, cross-attention without
  /// is_decoder, pruned heads that do not exist.
  void validate() const;
};

/// The configuration of a JSON object; `name` stands in messages. Throws InputError for wrong types, unknown
/// activations and problem types, a model_type other than bert or qdqbert, and whatever validate() refuses.
BertConfig parse_config(const Json& json, std::string_view name);
BertConfig read_config(const std::filesystem::path& path);

/// The fields that the original would write, in its order: all of the class's own, and of the inherited ones
/// those that differ from their default.
Json to_json(const BertConfig& config);
/// to_json with indent 2, sorted keys and a final newline, through AtomicFile.
void write_config(const std::filesystem::path& path, const BertConfig& config);

/// Shapes known by name: bert-base, bert-large, minilm-l6; nullopt for another name.
std::optional<BertConfig> builtin_config(std::string_view name);

}  // namespace qdqbert::io
