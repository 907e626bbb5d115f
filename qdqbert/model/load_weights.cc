#include "qdqbert/model/load_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <unordered_map>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/io/refuse.h"
#include "qdqbert/model/heads_lm.h"
#include "qdqbert/nn/state_dict.h"

namespace qdqbert::model {
namespace {

/// Refuses values that are no numbers, which nothing behind could tell from results.
void require_numbers(const at::Tensor& tensor, const std::string& name, const std::filesystem::path& file) {
  const std::span<const float> values(tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel()));
  const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad == values.end()) return;
  const auto count = std::count_if(bad, values.end(), [](float v) { return !std::isfinite(v); });
  io::refuse("[load] {}: {} holds {} values that are no finite numbers, the first is {} at {} of {}",
             file.string(), name, count, *bad, bad - values.begin(), values.size());
}

/// A range in the shape that its quantizer gives one: a scalar, or one for each row of the weight.
at::Tensor range_tensor(const at::Tensor& values, const at::Tensor& weight, const std::string& name,
                        const std::filesystem::path& file) {
  if (values.numel() > 0 && values.min().item<float>() < 0)
    io::refuse("[load] {}: the range {} is negative ({})", file.string(), name, values.min().item<float>());
  const bool by_row = weight.defined() && values.dim() > 0 && values.numel() == weight.size(0);
  if (by_row) return values.reshape({weight.size(0), 1});
  return values.numel() == 1 ? values.reshape({}) : values;
}

at::Tensor float_tensor(const TensorView& view) {
  at::Tensor tensor = at::empty(view.shape, at::kFloat);
  if (view.dtype == DType::kF32) {
    std::memcpy(tensor.data_ptr(), view.data.data(), view.data.size());
  } else {
    const std::vector<float> values = to_float32(view);
    std::memcpy(tensor.data_ptr(), values.data(), values.size() * sizeof(float));
  }
  return tensor;
}

Json generation_config(const io::BertConfig& config) {
  Json json = {{"_from_model_config", true}};
  const auto put = [&](const char* key, const std::optional<int64_t>& value) {
    if (value) json[key] = *value;
  };
  put("bos_token_id", config.bos_token_id);
  put("eos_token_id", config.eos_token_id);
  put("pad_token_id", config.pad_token_id);
  json["transformers_version"] = config.transformers_version;
  return json;
}

bool is_range(const std::string& name) {
  return name.ends_with("._amax");
}

}  // namespace

io::ModelNames model_names(const PreTrainedModel& model) {
  io::ModelNames names;
  names.class_name = model.class_name();
  for (const nn::NamedTensor& item : nn::state_dict(model)) {
    if (!is_range(item.name)) names.tensors.push_back({item.name, Shape(item.tensor.sizes().vec())});
  }
  for (const NamedQuantizer& item : model.named_quantizers()) names.quantizers.push_back(item.name);
  for (const auto& [second, first] : model.tied_names()) names.tied.push_back({first, second});
  return names;
}

io::LoadReport load_weights(PreTrainedModel& model, const io::Checkpoint& checkpoint,
                            const LoadOptions& options) {
  const io::ModelNames names = model_names(model);
  const io::LoadPlan plan = io::plan_load(checkpoint.tensors(), names, options.ignore_mismatched_sizes);

  const at::NoGradGuard no_grad;
  std::unordered_map<std::string, at::Tensor> parameters;
  for (const nn::NamedTensor& item : nn::state_dict(model)) parameters.emplace(item.name, item.tensor);
  std::unordered_map<std::string, std::shared_ptr<nn::TensorQuantizer>> quantizers;
  for (const NamedQuantizer& item : model.named_quantizers()) quantizers.emplace(item.name, item.quantizer);
  const at::Device device = model.parameters().at(0).device();

  std::set<std::string> absent;
  for (const io::ExpectedTensor& expected : names.tensors) absent.insert(expected.name);
  for (const io::Match& match : plan.matches) {
    absent.erase(match.model_name);
    const at::Tensor value = float_tensor(match.tensor);
    require_numbers(value, match.checkpoint_name, checkpoint.file());
    if (is_range(match.model_name)) {
      const std::string path =
          match.model_name.substr(0, match.model_name.size() - std::string("._amax").size());
      constexpr std::string_view kOfWeight = "._weight_quantizer";
      const auto weight = path.ends_with(kOfWeight)
                              ? parameters.find(path.substr(0, path.size() - kOfWeight.size()) + ".weight")
                              : parameters.end();
      const at::Tensor range = range_tensor(value, weight == parameters.end() ? at::Tensor() : weight->second,
                                            match.checkpoint_name, checkpoint.file());
      quantizers.at(path)->replace_amax(range.to(device));
    } else {
      parameters.at(match.model_name).copy_(value);
    }
  }
  // Either name of a tied pair fills both.
  for (const auto& [second, first] : model.tied_names()) {
    if (absent.contains(first) && !absent.contains(second)) parameters.at(first).copy_(parameters.at(second));
    if (!absent.contains(first) || !absent.contains(second)) {
      absent.erase(first);
      absent.erase(second);
    }
  }
  if (!absent.empty()) model.init_weights(options.seed, &absent);
  model.tie_weights();
  model.eval();
  return plan.report;
}

LoadedModel load_model(std::string_view class_name, const std::filesystem::path& directory,
                       const nn::QuantDefaults& defaults, const LoadOptions& options,
                       const std::function<void(io::BertConfig&)>& configure) {
  io::BertConfig config = io::read_config(directory / "config.json");
  if (configure) configure(config);
  const io::Checkpoint checkpoint = io::Checkpoint::open(directory);
  LoadedModel loaded;
  loaded.model = make_model(class_name, config, defaults);
  loaded.report = load_weights(*loaded.model, checkpoint, options);
  return loaded;
}

std::string_view class_for(const io::BertConfig& config, std::string_view where) {
  if (config.architectures.empty()) return "QDQBertModel";
  std::string names;
  for (const std::string& name : config.architectures) {
    if (name == "BertForPreTraining" || name == "QDQBertForPreTraining") return "QDQBertForMaskedLM";
    for (const HeadSpec& spec : head_specs())
      if (name == spec.class_name || name == spec.class_name.substr(3)) return spec.class_name;
    names += (names.empty() ? "" : ", ") + name;
  }
  std::string known;
  for (const HeadSpec& spec : head_specs())
    known += fmt::format("{}{}", known.empty() ? "" : ", ", spec.class_name);
  fail("[model] {} is for {}; there are {}", where, names, known);
}

LoadedModel load_auto_model(const std::filesystem::path& directory, const nn::QuantDefaults& defaults,
                            const LoadOptions& options) {
  const std::filesystem::path config = directory / "config.json";
  return load_model(class_for(io::read_config(config), config.string()), directory, defaults, options);
}

void save_model(const PreTrainedModel& model, const std::filesystem::path& directory,
                const io::SaveOptions& options) {
  std::set<std::string> second_names;
  for (const auto& [second, first] : model.tied_names()) second_names.insert(second);
  std::vector<at::Tensor> alive;
  std::vector<io::NamedTensor> tensors;
  for (const nn::NamedTensor& item : nn::state_dict(model)) {
    if (second_names.contains(item.name)) continue;
    alive.push_back(item.tensor.detach().to(at::kCPU, at::kFloat).contiguous());
    const at::Tensor& tensor = alive.back();
    tensors.push_back({item.name,
                       {DType::kF32,
                        Shape(tensor.sizes().vec()),
                        {static_cast<const std::byte*>(tensor.data_ptr()), tensor.nbytes()}}});
  }
  io::BertConfig config = model.config();
  config.architectures = {model.class_name()};
  io::save_checkpoint(directory, tensors, config, options);
  if (dynamic_cast<const LanguageModel*>(&model) != nullptr) {
    write_file(directory / "generation_config.json",
               dump_json(generation_config(config), {.indent = 2, .sort_keys = true, .final_newline = true}));
  }
}

}  // namespace qdqbert::model
