#include "qdqbert/tasks/sentence_folder.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/io/checkpoint.h"
#include "qdqbert/io/safetensors.h"

namespace qdqbert::tasks {

namespace {

namespace fs = std::filesystem;
using Activation = DenseLayer::Activation;

struct Module {
  std::string kind;  ///< the last part of its type
  fs::path place;
};

constexpr std::array<std::pair<std::string_view, Activation>, 8> kActivations = {
    {{"torch.nn.modules.linear.Identity", Activation::kIdentity},
     {"torch.nn.modules.activation.Tanh", Activation::kTanh},
     {"torch.nn.modules.activation.ReLU", Activation::kRelu},
     {"torch.nn.modules.activation.ReLU6", Activation::kRelu6},
     {"torch.nn.modules.activation.LeakyReLU", Activation::kLeakyRelu},
     {"torch.nn.modules.activation.GELU", Activation::kGelu},
     {"torch.nn.modules.activation.SiLU", Activation::kSilu},
     {"torch.nn.modules.activation.Sigmoid", Activation::kSigmoid}}};

Json read_object(const fs::path& file) {
  Json json = fs::is_regular_file(file) ? read_json(file) : Json::object();
  if (!json.is_object()) fail("[sentence-transformers] {} is no JSON object", file.string());
  return json;
}

template <class Value>
std::optional<Value> member(const Json& json, const char* key, const fs::path& file) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return std::nullopt;
  bool fits = false;
  if constexpr (std::is_same_v<Value, bool>) fits = found->is_boolean();
  if constexpr (std::is_same_v<Value, int64_t>)
    fits = found->is_number_integer() && *found > 0 && *found < 1'000'000'000;
  if constexpr (std::is_same_v<Value, std::string>) fits = found->is_string();
  if (!fits)
    fail("[sentence-transformers] {}: {} is {}, which it cannot be", file.string(), key,
         dump_json(*found, {.indent = -1}).substr(0, 60));
  return found->get<Value>();
}

std::vector<Module> modules_of(const fs::path& directory) {
  const fs::path file = directory / "modules.json";
  const Json json = read_json(file);
  if (!json.is_array()) fail("[sentence-transformers] {} is no list of modules", file.string());
  std::vector<Module> modules;
  for (const Json& item : json) {
    if (!item.is_object()) fail("[sentence-transformers] {} holds a module that is no object", file.string());
    const std::string type = member<std::string>(item, "type", file).value_or("");
    const std::string path = member<std::string>(item, "path", file).value_or("");
    if (fs::path(path).is_absolute() || path.find("..") != std::string::npos)
      fail("[sentence-transformers] {}: the path \"{}\" leads out of the directory", file.string(), path);
    modules.push_back({type.substr(type.rfind('.') + 1), path.empty() ? directory : directory / path});
  }
  if (modules.empty() || modules[0].kind != "Transformer")
    fail("[sentence-transformers] {}: the first module is {}, only a Transformer is supported", file.string(),
         modules.empty() ? "missing" : modules[0].kind);
  return modules;
}

void read_pooling(const Module& module, SentenceModel& model) {
  constexpr std::array kFlags = {"pooling_mode_cls_token",           "pooling_mode_max_tokens",
                                 "pooling_mode_mean_tokens",         "pooling_mode_mean_sqrt_len_tokens",
                                 "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"};
  const fs::path file = module.place / "config.json";
  const Json config = read_object(file);
  model.pooling.clear();
  const auto add = [&](const Json& name) {
    const auto pooling = name.is_string() ? pooling_named(name.get<std::string>()) : std::nullopt;
    if (!pooling)
      fail("[sentence-transformers] {}: the pooling mode {} is unknown", file.string(),
           dump_json(name, {.indent = -1}).substr(0, 60));
    model.pooling.push_back(*pooling);
  };
  const auto mode = config.find("pooling_mode");
  if (mode != config.end() && mode->is_array()) {
    for (const Json& name : *mode) add(name);
  } else if (mode != config.end()) {
    add(*mode);
  } else {
    for (const auto& [key, value] : config.items())
      if (key.starts_with("pooling_mode_") && std::find(kFlags.begin(), kFlags.end(), key) == kFlags.end())
        fail("[sentence-transformers] {}: the pooling mode {} is unknown", file.string(), key);
    for (size_t i = 0; i < kFlags.size(); ++i)
      if (member<bool>(config, kFlags[i], file).value_or(false))
        model.pooling.push_back(static_cast<Pooling>(i));
  }
  if (model.pooling.empty()) model.pooling = {Pooling::kMean};
  model.include_prompt = member<bool>(config, "include_prompt", file).value_or(true);
}

DenseLayer read_dense(const Module& module) {
  const fs::path file = module.place / "config.json";
  const Json config = read_object(file);
  DenseLayer layer;
  const auto size = [&](const char* key) {
    const auto value = member<int64_t>(config, key, file);
    if (!value) fail("[sentence-transformers] {} has no {}", file.string(), key);
    return static_cast<size_t>(*value);
  };
  layer.in = size("in_features");
  layer.out = size("out_features");
  if (const auto name = member<std::string>(config, "activation_function", file)) {
    const auto known = std::find_if(kActivations.begin(), kActivations.end(),
                                    [&](const auto& item) { return item.first == *name; });
    if (known == kActivations.end())
      fail("[sentence-transformers] {}: the activation {} is unknown", file.string(), *name);
    layer.activation = known->second;
  }
  if (member<bool>(config, "use_residual", file).value_or(false))
    fail("[sentence-transformers] {}: use_residual is not supported", file.string());
  for (const char* key : {"module_input_name", "module_output_name"})
    if (member<std::string>(config, key, file).value_or("sentence_embedding") != "sentence_embedding")
      fail("[sentence-transformers] {}: {} is another than sentence_embedding, which is not supported",
           file.string(), key);
  const io::Checkpoint weights = io::Checkpoint::open(module.place);
  const auto take = [&](const char* name, const Shape& shape) {
    const TensorView& tensor = weights.at(name);
    if (tensor.shape != shape)
      fail("[sentence-transformers] {}: {} has the shape {}, {} is needed", weights.file().string(), name,
           to_string(tensor.shape), to_string(shape));
    std::vector<float> values = to_float32(tensor);
    if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
      fail("[sentence-transformers] {}: {} holds values that are no finite numbers", weights.file().string(),
           name);
    return values;
  };
  const auto in = static_cast<int64_t>(layer.in), out = static_cast<int64_t>(layer.out);
  layer.weight = take("linear.weight", {out, in});
  if (member<bool>(config, "bias", file).value_or(true)) layer.bias = take("linear.bias", {out});
  return layer;
}

void read_settings(const fs::path& directory, const fs::path& encoder, SentenceModel& model) {
  fs::path file = encoder / "sentence_bert_config.json";
  if (!fs::is_regular_file(file)) file = directory / "sentence_bert_config.json";
  const Json bert = read_object(file);
  model.max_seq_length = member<int64_t>(bert, "max_seq_length", file);
  model.lower_case = member<bool>(bert, "do_lower_case", file).value_or(false);
  const fs::path prompts = directory / "config_sentence_transformers.json";
  const Json config = read_object(prompts);
  if (const auto found = config.find("prompts"); found != config.end() && !found->is_null()) {
    if (!found->is_object()) fail("[sentence-transformers] {}: prompts is no object", prompts.string());
    for (const auto& [name, text] : found->items()) {
      if (!text.is_string())
        fail("[sentence-transformers] {}: the prompt {} is no text", prompts.string(), name);
      model.prompts[name] = text.get<std::string>();
    }
  }
  model.default_prompt = member<std::string>(config, "default_prompt_name", prompts);
  if (model.default_prompt && !model.prompts.contains(*model.default_prompt))
    fail("[sentence-transformers] {}: default_prompt_name is {}, which is no prompt", prompts.string(),
         *model.default_prompt);
}

}  // namespace

fs::path encoder_directory(const fs::path& directory) {
  if (!fs::is_regular_file(directory / "modules.json")) return directory;
  return modules_of(directory)[0].place;
}

std::optional<SentenceModel> read_sentence_folder(const fs::path& directory) {
  if (!fs::is_regular_file(directory / "modules.json")) return std::nullopt;
  const std::vector<Module> modules = modules_of(directory);
  SentenceModel model;
  model.steps.clear();
  read_settings(directory, modules[0].place, model);
  bool pools = false;
  for (size_t i = 1; i < modules.size(); ++i) {
    const Module& module = modules[i];
    if (module.kind == "Pooling" && !pools) {
      read_pooling(module, model);
      pools = true;
    } else if (module.kind == "Dense" && pools) {
      model.steps.emplace_back(read_dense(module));
    } else if (module.kind == "Normalize" && pools) {
      model.steps.emplace_back(Normalize{});
    } else if (module.kind != "Dropout") {  // which does nothing outside of training
      fail("[sentence-transformers] {}: module {} is a {}, which is not supported {}",
           (directory / "modules.json").string(), i, module.kind,
           pools ? "behind pooling" : "before pooling");
    }
  }
  if (!pools)
    fail("[sentence-transformers] {} has no Pooling, so texts have no vectors",
         (directory / "modules.json").string());
  return model;
}

std::optional<SentenceModel> sentence_folder_of(const fs::path& onnx_file) {
  fs::path place = onnx_file.parent_path().empty() ? fs::path(".") : onnx_file.parent_path();
  if (!fs::exists(place / "modules.json") && fs::exists(place / ".." / "modules.json")) place /= "..";
  return read_sentence_folder(place);
}

text::Tokenizer lowercased(const text::Tokenizer& tokenizer) {
  text::TokenizerOptions options = tokenizer.options();
  if (!options.lower_case) {
    options.strip_accents = options.strip_accents.value_or(false);
    options.lower_case = true;
  }
  return text::Tokenizer(text::Vocabulary(tokenizer.vocabulary().tokens(), "the tokenizer"), options);
}

void write_sentence_folder(const fs::path& directory, const SentenceModel& model, size_t columns) {
  constexpr JsonStyle kStyle{.indent = 2, .final_newline = true};
  const auto write = [&](const fs::path& file, const Json& json) {
    fs::create_directories(file.parent_path());
    write_file(file, dump_json(json, kStyle));
  };
  Json modules = Json::array();
  const auto add = [&](const char* kind) {
    const size_t i = modules.size();
    const std::string path = i == 0 ? "" : fmt::format("{}_{}", i, kind);
    modules.push_back({{"idx", i},
                       {"name", std::to_string(i)},
                       {"path", path},
                       {"type", fmt::format("sentence_transformers.models.{}", kind)}});
    return directory / path;
  };
  add("Transformer");
  Json pooling = {{"word_embedding_dimension", columns}};
  const bool in_order = std::is_sorted(model.pooling.begin(), model.pooling.end());
  const std::pair<const char*, Pooling> flags[] = {{"cls_token", Pooling::kCls},
                                                   {"max_tokens", Pooling::kMax},
                                                   {"mean_tokens", Pooling::kMean},
                                                   {"mean_sqrt_len_tokens", Pooling::kMeanSqrtLength},
                                                   {"weightedmean_tokens", Pooling::kWeightedMean},
                                                   {"lasttoken", Pooling::kLastToken}};
  if (in_order) {  // as every release reads it
    for (const auto& [name, mode] : flags)
      pooling[fmt::format("pooling_mode_{}", name)] =
          std::find(model.pooling.begin(), model.pooling.end(), mode) != model.pooling.end();
  } else {
    for (const Pooling mode : model.pooling) pooling["pooling_mode"].push_back(std::string(name_of(mode)));
  }
  pooling["include_prompt"] = model.include_prompt;
  write(add("Pooling") / "config.json", pooling);
  for (const auto& step : model.steps) {
    const auto* layer = std::get_if<DenseLayer>(&step);
    if (!layer) {
      fs::create_directories(add("Normalize"));
      continue;
    }
    const fs::path place = add("Dense");
    const auto activation = std::find_if(kActivations.begin(), kActivations.end(),
                                         [&](const auto& item) { return item.second == layer->activation; });
    write(place / "config.json", {{"in_features", layer->in},
                                  {"out_features", layer->out},
                                  {"bias", !layer->bias.empty()},
                                  {"activation_function", std::string(activation->first)}});
    const auto bytes = [](const std::vector<float>& values) { return std::as_bytes(std::span(values)); };
    const auto in = static_cast<int64_t>(layer->in), out = static_cast<int64_t>(layer->out);
    std::vector<io::NamedTensor> tensors = {
        {"linear.weight", {DType::kF32, {out, in}, bytes(layer->weight)}}};
    if (!layer->bias.empty()) tensors.push_back({"linear.bias", {DType::kF32, {out}, bytes(layer->bias)}});
    io::write_safetensors(place / "model.safetensors", tensors);
  }
  write(directory / "modules.json", modules);
  write(directory / "sentence_bert_config.json",
        {{"max_seq_length", model.max_seq_length ? Json(*model.max_seq_length) : Json()},
         {"do_lower_case", model.lower_case}});
  write(directory / "config_sentence_transformers.json",
        {{"prompts", model.prompts},
         {"default_prompt_name", model.default_prompt ? Json(*model.default_prompt) : Json()}});
}

}  // namespace qdqbert::tasks
