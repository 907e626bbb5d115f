#include "qdqbert/io/bert_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "qdqbert/base/file.h"
#include "qdqbert/base/log.h"
#include "qdqbert/io/refuse.h"

namespace qdqbert::io {

namespace {

constexpr std::array<std::pair<ProblemType, std::string_view>, 3> kProblemTypes = {{
    {ProblemType::kRegression, "regression"},
    {ProblemType::kSingleLabel, "single_label_classification"},
    {ProblemType::kMultiLabel, "multi_label_classification"},
}};

/// Fields of the original's base class that are not members of BertConfig, with their
/// defaults: written only when they differ.
const Json& inherited_defaults() {
  static const Json defaults = {{"_name_or_path", ""},
                                {"bad_words_ids", nullptr},
                                {"begin_suppress_tokens", nullptr},
                                {"cross_attention_hidden_size", nullptr},
                                {"decoder_start_token_id", nullptr},
                                {"diversity_penalty", 0.0},
                                {"do_sample", false},
                                {"early_stopping", false},
                                {"encoder_no_repeat_ngram_size", 0},
                                {"exponential_decay_length_penalty", nullptr},
                                {"finetuning_task", nullptr},
                                {"forced_bos_token_id", nullptr},
                                {"forced_eos_token_id", nullptr},
                                {"is_encoder_decoder", false},
                                {"length_penalty", 1.0},
                                {"max_length", 20},
                                {"min_length", 0},
                                {"no_repeat_ngram_size", 0},
                                {"num_beam_groups", 1},
                                {"num_beams", 1},
                                {"num_return_sequences", 1},
                                {"output_scores", false},
                                {"prefix", nullptr},
                                {"remove_invalid_values", false},
                                {"repetition_penalty", 1.0},
                                {"return_dict_in_generate", false},
                                {"sep_token_id", nullptr},
                                {"suppress_tokens", nullptr},
                                {"task_specific_params", nullptr},
                                {"temperature", 1.0},
                                {"tf_legacy_loss", false},
                                {"tie_encoder_decoder", false},
                                {"tokenizer_class", nullptr},
                                {"top_k", 50},
                                {"top_p", 1.0},
                                {"typical_p", 1.0},
                                {"use_bfloat16", false}};
  return defaults;
}

/// Takes fields out of the object one by one; what is left over is kept as it is.
class FieldReader {
 public:
  FieldReader(Json& fields, std::string_view name) : fields_(fields), name_(name) {}

  void read(const char* key, int64_t& value) {
    if (const auto found = take(key)) value = integer(key, *found);
  }
  void read(const char* key, std::optional<int64_t>& value) {
    const auto found = take(key);
    if (!found) return;
    value.reset();
    if (!found->is_null()) value = integer(key, *found);
  }
  void read(const char* key, double& value) {
    const auto found = take(key);
    if (!found) return;
    if (!found->is_number()) wrong(key, "a number", *found);
    value = found->get<double>();
    if (!std::isfinite(value)) wrong(key, "a finite number", *found);
  }
  void read(const char* key, bool& value) {
    const auto found = take(key);
    if (!found) return;
    if (!found->is_boolean()) wrong(key, "true or false", *found);
    value = found->get<bool>();
  }
  void read(const char* key, std::string& value) {
    const auto found = take(key);
    if (!found) return;
    if (!found->is_string()) wrong(key, "a string", *found);
    value = found->get<std::string>();
  }
  /// Null counts as absent.
  void read_optional(const char* key, std::string& value) {
    if (const auto found = fields_.find(key); found != fields_.end() && found->is_null())
      fields_.erase(found);
    read(key, value);
  }
  std::optional<Json> take(const char* key) {
    const auto found = fields_.find(key);
    if (found == fields_.end()) return std::nullopt;
    Json value = *found;
    fields_.erase(found);
    return value;
  }

  int64_t integer(std::string_view key, const Json& value) const {
    if (!value.is_number_integer()) wrong(key, "an integer", value);
    if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
      wrong(key, "an integer below 2^63", value);
    return value.get<int64_t>();
  }

  int64_t integer_key(std::string_view key, const std::string& text) const {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      refuse("[config] {}: the keys of {} must be integers, found \"{}\"", name_, key, text);
    return value;
  }

  [[noreturn]] void wrong(std::string_view key, std::string_view needed, const Json& found) const {
    std::string text = dump_json(found, {.indent = -1});
    if (text.size() > 60) text = text.substr(0, 57) + "...";
    refuse("[config] {}: {} must be {}, found {}", name_, key, needed, text);
  }

 private:
  Json& fields_;
  std::string_view name_;
};

void read_labels(FieldReader& reader, std::string_view name, BertConfig& config) {
  const auto id2label = reader.take("id2label");
  const auto label2id = reader.take("label2id");
  const auto num_labels = reader.take("num_labels");
  if (label2id && !label2id->is_null() && !label2id->is_object())
    reader.wrong("label2id", "an object", *label2id);
  if (!id2label || id2label->is_null()) {
    if (num_labels) config.set_num_labels(reader.integer("num_labels", *num_labels));
    return;
  }
  if (!id2label->is_object()) reader.wrong("id2label", "an object", *id2label);
  std::map<int64_t, std::string> named;
  for (const auto& [id, label] : id2label->items()) {
    const std::optional<std::string> text = label_text(label);
    if (!text) reader.wrong("id2label", "an object of texts", *id2label);
    named[reader.integer_key("id2label", id)] = *text;
  }
  if (named.empty()) refuse("[config] {}: id2label has no label", name);
  std::vector<std::string> labels;
  for (const auto& [id, label] : named) labels.push_back(label);
  if (named.begin()->first != 0 || named.rbegin()->first + 1 != std::ssize(labels))
    log_warning(
        "[config] {}: the keys of id2label are {} to {} for {} labels; they are numbered from 0 instead",
        name, named.begin()->first, named.rbegin()->first, labels.size());
  config.set_labels(labels);
  if (config.label2id->size() < labels.size())
    log_warning("[config] {}: labels of id2label stand twice; by name the last of them is meant", name);
  if (!label2id || label2id->is_null()) config.label2id.reset();
  if (num_labels)
    if (const int64_t count = reader.integer("num_labels", *num_labels); count != config.num_labels())
      log_warning("[config] {}: num_labels {} does not fit id2label with {} labels; the map decides", name,
                  count, config.num_labels());
}

void read_pruned_heads(FieldReader& reader, BertConfig& config) {
  const auto pruned = reader.take("pruned_heads");
  if (!pruned || pruned->is_null()) return;
  if (!pruned->is_object()) reader.wrong("pruned_heads", "an object of lists", *pruned);
  for (const auto& [layer, heads] : pruned->items()) {
    if (!heads.is_array()) reader.wrong("pruned_heads", "an object of lists", *pruned);
    for (const Json& head : heads)
      config.pruned_heads[reader.integer_key("pruned_heads", layer)].insert(
          reader.integer("pruned_heads", head));
  }
}

Json or_null(const std::optional<int64_t>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json sorted(const Json& value) {
  if (value.is_array()) {
    Json out = Json::array();
    for (const Json& element : value) out.push_back(sorted(element));
    return out;
  }
  if (!value.is_object()) return value;
  std::map<std::string, const Json*> members;
  for (const auto& item : value.items()) members.emplace(item.key(), &item.value());
  Json out = Json::object();
  for (const auto& [key, member] : members) out[key] = sorted(*member);
  return out;
}

}  // namespace

std::optional<std::string> label_text(const Json& label) {
  if (label.is_string()) return label.get<std::string>();
  if (label.is_number() || label.is_boolean()) return label.dump();
  return std::nullopt;
}

void BertConfig::set_num_labels(int64_t count) {
  if (count < 1 || count > 1'000'000)
    refuse("[config] num_labels must be between 1 and 1000000, found {}", count);
  if (count == num_labels()) return;
  std::vector<std::string> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back(fmt::format("LABEL_{}", i));
  set_labels(labels);
}

void BertConfig::set_labels(const std::vector<std::string>& labels) {
  id2label.clear();
  label2id.emplace();
  for (const std::string& label : labels) {
    const int64_t id = num_labels();
    id2label[id] = label;
    (*label2id)[label] = id;
  }
}

PositionEmbedding BertConfig::position_embedding() const {
  const std::string type = position_embedding_type.value_or("absolute");
  if (type == "absolute") return PositionEmbedding::kAbsolute;
  if (type == "relative_key") return PositionEmbedding::kRelativeKey;
  if (type == "relative_key_query") return PositionEmbedding::kRelativeKeyQuery;
  return PositionEmbedding::kNone;
}

void BertConfig::validate() const {
  struct Size {
    const char* name;
    int64_t value, largest;
  };
  // The limits are far beyond any BERT and keep every product of two sizes inside 64 bits.
  for (const auto& [name, value, largest] :
       {Size{"vocab_size", vocab_size, 1 << 28}, Size{"hidden_size", hidden_size, 1 << 17},
        Size{"num_hidden_layers", num_hidden_layers, 1 << 12},
        Size{"num_attention_heads", num_attention_heads, 1 << 12},
        Size{"intermediate_size", intermediate_size, 1 << 20},
        Size{"max_position_embeddings", max_position_embeddings, 1 << 24},
        Size{"type_vocab_size", type_vocab_size, 1 << 20}}) {
    if (value < 1) refuse("[config] {} must be at least 1, found {}", name, value);
    if (value > largest) refuse("[config] {} is {}, which is above the limit of {}", name, value, largest);
  }
  if (hidden_size % num_attention_heads != 0 && !extra.contains("embedding_size"))
    refuse("[config] hidden_size {} is not a multiple of num_attention_heads {}", hidden_size,
           num_attention_heads);
  for (const auto& [name, value] : {std::pair{"hidden_dropout_prob", hidden_dropout_prob},
                                    std::pair{"attention_probs_dropout_prob", attention_probs_dropout_prob}})
    if (!(value >= 0 && value <= 1)) refuse("[config] {} must be between 0 and 1, found {}", name, value);
  for (const auto& [name, value] :
       {std::pair{"initializer_range", initializer_range}, std::pair{"layer_norm_eps", layer_norm_eps}})
    if (!(value >= 0) || std::isinf(value)) refuse("[config] {} must not be negative, found {}", name, value);
  if (pad_token_id && (*pad_token_id >= vocab_size || *pad_token_id < -vocab_size))
    refuse("[config] pad_token_id {} is outside the vocabulary of {} tokens", *pad_token_id, vocab_size);
  if (add_cross_attention && !is_decoder)
    refuse("[config] add_cross_attention needs is_decoder, which is false");
  if (chunk_size_feed_forward < 0)
    refuse("[config] chunk_size_feed_forward must not be negative, found {}", chunk_size_feed_forward);
  for (const auto& [layer, heads] : pruned_heads) {
    if (layer < 0 || layer >= num_hidden_layers)
      refuse("[config] pruned_heads names layer {}, the model has {}", layer, num_hidden_layers);
    for (const int64_t head : heads)
      if (head < 0 || head >= num_attention_heads)
        refuse("[config] pruned_heads names head {} of layer {}, the layer has {}", head, layer,
               num_attention_heads);
    if (static_cast<int64_t>(heads.size()) == num_attention_heads)
      refuse("[config] pruned_heads removes all {} heads of layer {}", num_attention_heads, layer);
  }
}

BertConfig parse_config(const Json& json, std::string_view name) {
  if (!json.is_object()) refuse("[config] {}: a JSON object is needed", name);
  BertConfig config;
  config.extra = json;
  FieldReader reader(config.extra, name);

  reader.read("model_type", config.model_type);
  if (config.model_type != "qdqbert" && config.model_type != "bert")
    refuse("[config] {}: model_type \"{}\" is not supported, only \"bert\" and \"qdqbert\" are", name,
           config.model_type);
  if (const auto architectures = reader.take("architectures"); architectures && !architectures->is_null()) {
    if (!architectures->is_array()) reader.wrong("architectures", "a list of strings", *architectures);
    for (const Json& architecture : *architectures) {
      if (!architecture.is_string()) reader.wrong("architectures", "a list of strings", *architectures);
      config.architectures.push_back(architecture.get<std::string>());
    }
  }

  reader.read("vocab_size", config.vocab_size);
  reader.read("hidden_size", config.hidden_size);
  reader.read("num_hidden_layers", config.num_hidden_layers);
  reader.read("num_attention_heads", config.num_attention_heads);
  reader.read("intermediate_size", config.intermediate_size);
  std::string activation(name_of(config.hidden_act));
  reader.read("hidden_act", activation);
  const auto known = activation_of(activation);
  if (!known)
    refuse("[config] {}: hidden_act \"{}\" is unknown; known are {}", name, activation, activation_names());
  config.hidden_act = *known;
  reader.read("hidden_dropout_prob", config.hidden_dropout_prob);
  reader.read("attention_probs_dropout_prob", config.attention_probs_dropout_prob);
  reader.read("max_position_embeddings", config.max_position_embeddings);
  reader.read("type_vocab_size", config.type_vocab_size);
  reader.read("initializer_range", config.initializer_range);
  reader.read("layer_norm_eps", config.layer_norm_eps);
  reader.read("use_cache", config.use_cache);
  reader.read("pad_token_id", config.pad_token_id);
  reader.read("bos_token_id", config.bos_token_id);
  reader.read("eos_token_id", config.eos_token_id);

  reader.read("is_decoder", config.is_decoder);
  reader.read("add_cross_attention", config.add_cross_attention);
  std::string position;
  if (config.extra.contains("position_embedding_type")) {
    reader.read("position_embedding_type", position);
    config.position_embedding_type = position;
  }
  read_labels(reader, name, config);
  std::string problem;
  reader.read_optional("problem_type", problem);
  if (!problem.empty()) {
    for (const auto& [type, spelling] : kProblemTypes)
      if (spelling == problem) config.problem_type = type;
    if (!config.problem_type)
      refuse("[config] {}: problem_type \"{}\" is unknown; known are {}, {} and {}", name, problem,
             kProblemTypes[0].second, kProblemTypes[1].second, kProblemTypes[2].second);
  }
  reader.read("output_attentions", config.output_attentions);
  reader.read("output_hidden_states", config.output_hidden_states);
  reader.read("return_dict", config.return_dict);
  reader.read("torchscript", config.torchscript);
  reader.read("tie_word_embeddings", config.tie_word_embeddings);
  read_pruned_heads(reader, config);
  reader.read("chunk_size_feed_forward", config.chunk_size_feed_forward);
  if (config.extra.contains("gradient_checkpointing")) {
    bool checkpointing = false;
    reader.read("gradient_checkpointing", checkpointing);
    config.gradient_checkpointing = checkpointing;
  }
  reader.read_optional("torch_dtype", config.torch_dtype);
  reader.read_optional("transformers_version", config.transformers_version);
  reader.take("xla_device");  // both are dropped by the original, too
  reader.take("_commit_hash");
  try {
    config.validate();
  } catch (const InputError& error) {
    constexpr std::string_view kSubject = "[config] ";
    refuse("[config] {}: {}", name, std::string_view(error.what()).substr(kSubject.size()));
  }
  return config;
}

BertConfig read_config(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) refuse("[config] there is no file {}", path.string());
  return parse_config(read_json(path), path.string());
}

Json to_json(const BertConfig& config) {
  Json out = Json::object();
  for (const auto& [key, value] : config.extra.items()) {
    const auto inherited = inherited_defaults().find(key);
    if (inherited == inherited_defaults().end() || *inherited != value) out[key] = sorted(value);
  }
  const auto write_unless = [&](const char* key, const Json& value, const Json& inherited) {
    if (value != inherited) out[key] = value;
  };
  out["model_type"] = "qdqbert";
  if (!config.architectures.empty()) out["architectures"] = config.architectures;
  out["vocab_size"] = config.vocab_size;
  out["hidden_size"] = config.hidden_size;
  out["num_hidden_layers"] = config.num_hidden_layers;
  out["num_attention_heads"] = config.num_attention_heads;
  out["intermediate_size"] = config.intermediate_size;
  out["hidden_act"] = std::string(name_of(config.hidden_act));
  out["hidden_dropout_prob"] = config.hidden_dropout_prob;
  out["attention_probs_dropout_prob"] = config.attention_probs_dropout_prob;
  out["max_position_embeddings"] = config.max_position_embeddings;
  out["type_vocab_size"] = config.type_vocab_size;
  out["initializer_range"] = config.initializer_range;
  out["layer_norm_eps"] = config.layer_norm_eps;
  out["use_cache"] = config.use_cache;
  // Null differs from the class's own defaults, so these three are always written.
  out["pad_token_id"] = or_null(config.pad_token_id);
  out["bos_token_id"] = or_null(config.bos_token_id);
  out["eos_token_id"] = or_null(config.eos_token_id);

  write_unless("is_decoder", config.is_decoder, false);
  write_unless("add_cross_attention", config.add_cross_attention, false);
  if (config.position_embedding_type) out["position_embedding_type"] = *config.position_embedding_type;
  const BertConfig fresh;
  if (config.id2label != fresh.id2label) {
    Json& labels = out["id2label"] = Json::object();
    for (const auto& [id, label] : config.id2label) labels[std::to_string(id)] = label;
  }
  if (config.label2id != fresh.label2id)
    out["label2id"] = config.label2id ? Json(*config.label2id) : Json(nullptr);
  if (config.problem_type)
    for (const auto& [type, spelling] : kProblemTypes)
      if (type == *config.problem_type) out["problem_type"] = std::string(spelling);
  write_unless("output_attentions", config.output_attentions, false);
  write_unless("output_hidden_states", config.output_hidden_states, false);
  write_unless("return_dict", config.return_dict, true);
  write_unless("torchscript", config.torchscript, false);
  write_unless("tie_word_embeddings", config.tie_word_embeddings, true);
  write_unless("chunk_size_feed_forward", config.chunk_size_feed_forward, 0);
  if (!config.pruned_heads.empty()) {
    Json& pruned = out["pruned_heads"] = Json::object();
    for (const auto& [layer, heads] : config.pruned_heads) pruned[std::to_string(layer)] = heads;
  }
  if (config.gradient_checkpointing && !*config.gradient_checkpointing) out["gradient_checkpointing"] = false;
  if (!config.torch_dtype.empty()) out["torch_dtype"] = config.torch_dtype;
  out["transformers_version"] = config.transformers_version;

  // Keys sorted at the top; the maps with integer keys keep their numeric order ("2" before "10").
  std::map<std::string, Json> members;
  for (const auto& [key, value] : out.items()) members.emplace(key, value);
  Json ordered = Json::object();
  for (auto& [key, value] : members) ordered[key] = std::move(value);
  return ordered;
}

void write_config(const std::filesystem::path& path, const BertConfig& config) {
  write_file(path, dump_json(to_json(config), {.indent = 2, .final_newline = true}));
}

std::optional<BertConfig> builtin_config(std::string_view name) {
  BertConfig config;
  config.pad_token_id = 0;
  config.position_embedding_type = "absolute";
  if (name == "bert-base") return config;
  if (name == "bert-large") {
    config.hidden_size = 1024;
    config.num_hidden_layers = 24;
    config.num_attention_heads = 16;
    config.intermediate_size = 4096;
    return config;
  }
  if (name == "minilm-l6") {
    config.hidden_size = 384;
    config.num_hidden_layers = 6;
    config.intermediate_size = 1536;
    return config;
  }
  return std::nullopt;
}

}  // namespace qdqbert::io
