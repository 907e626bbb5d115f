#include <ATen/CPUGeneratorImpl.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/math.h"
#include "qdqbert/model/bert_model.h"

namespace qdqbert::model {
namespace {

template <class Module, class Visit>
void for_each(const torch::nn::Module& root, const Visit& visit) {
  for (const auto& item : root.named_modules("", /*include_self=*/false)) {
    if (auto module = std::dynamic_pointer_cast<Module>(item.value())) visit(item.key(), module);
  }
}

// The same numbers on every device: they are drawn on the CPU.
void fill_normal(const at::Tensor& parameter, double deviation, at::Generator& generator) {
  const at::Tensor values =
      parameter.device().is_cpu() ? parameter : at::empty_like(parameter, at::TensorOptions(at::kCPU));
  values.normal_(0.0, deviation, generator);
  if (!values.is_same(parameter)) parameter.copy_(values);
}

// FNV-1a: the same number on every machine.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  return hash;
}

}  // namespace

PreTrainedModel::PreTrainedModel(const char* name, io::BertConfig config, nn::QuantDefaults defaults)
    : torch::nn::Module(name), config_(std::move(config)), defaults_(std::move(defaults)) {
  config_.validate();
}

std::vector<NamedQuantizer> PreTrainedModel::named_quantizers() const {
  std::vector<NamedQuantizer> found;
  for_each<nn::TensorQuantizer>(*this, [&](const std::string& name, const auto& quantizer) {
    found.push_back({name, quantizer});
  });
  return found;
}

std::vector<NamedLinear> PreTrainedModel::named_quant_linears() const {
  std::vector<NamedLinear> found;
  for_each<nn::QuantLinear>(*this, [&](const std::string& name, const auto& linear) {
    found.push_back({name, linear});
  });
  return found;
}

void PreTrainedModel::finish_construction() {
  for (const NamedQuantizer& item : named_quantizers()) item.quantizer->set_label(item.name);
  // Heads own a base model that has pruned itself already.
  if (base_prefix().empty() && !config_.pruned_heads.empty()) {
    const auto heads = config_.pruned_heads;
    config_.pruned_heads.clear();
    prune_heads(heads);
  }
  eval();
}

void PreTrainedModel::init_weights(uint64_t seed, const std::set<std::string>* only) {
  const at::NoGradGuard no_grad;
  const auto wanted = [&](const std::string& name) { return only == nullptr || only->contains(name); };
  const auto fill = [&](const std::string& name, const at::Tensor& parameter) {
    at::Generator generator = at::detail::createCPUGenerator(seed ^ hash_of(name));
    fill_normal(parameter, config_.initializer_range, generator);
  };
  // Tables after linear layers: a tied output layer must not overwrite
  // the padding row of the word embeddings.
  for_each<nn::Linear>(*this, [&](const std::string& path, const auto& linear) {
    if (wanted(path + ".weight")) fill(path + ".weight", linear->weight);
    if (linear->bias.defined() && wanted(path + ".bias")) linear->bias.zero_();
  });
  for_each<Embedding>(*this, [&](const std::string& path, const auto& table) {
    if (!wanted(path + ".weight")) return;
    fill(path + ".weight", table->weight);
    if (table->padding_row()) table->weight[*table->padding_row()].zero_();
  });
  for_each<LayerNorm>(*this, [&](const std::string& path, const auto& norm) {
    if (wanted(path + ".weight")) norm->weight.fill_(1.0);
    if (wanted(path + ".bias")) norm->bias.zero_();
  });
  tie_weights();
}

void PreTrainedModel::prune_heads(const std::map<int64_t, std::set<int64_t>>& heads) {
  const at::NoGradGuard no_grad;
  QDQBertModel& bert = base();
  const auto layers = static_cast<int64_t>(bert.encoder->layers.size());
  for (const auto& [layer, numbers] : heads) {
    if (layer < 0 || layer >= layers)
      fail("[pruning] layer {} does not exist, the model has {}", layer, layers);
    for (const int64_t head : numbers) {
      if (head < 0 || head >= config_.num_attention_heads) {
        fail("[pruning] head {} of layer {} does not exist, there are {}", head, layer,
             config_.num_attention_heads);
      }
    }
    bert.encoder->layers[static_cast<size_t>(layer)]->attention->prune_heads(numbers);
    config_.pruned_heads[layer].insert(numbers.begin(), numbers.end());
    bert.mutable_config().pruned_heads[layer].insert(numbers.begin(), numbers.end());
  }
}

void PreTrainedModel::resize_token_embeddings(int64_t rows, int64_t multiple_of, uint64_t seed) {
  const at::NoGradGuard no_grad;
  if (rows < 1) fail("[embedding] cannot be resized to {} rows", rows);
  if (multiple_of > 0) rows = round_up(rows, multiple_of);
  Embeddings& embeddings = *base().embeddings;
  const at::Tensor old = embeddings.word_embeddings->weight;
  if (old.size(0) == rows) return;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const at::Tensor drawn = at::empty({rows, old.size(1)}, at::kFloat);
  fill_normal(drawn, config_.initializer_range, generator);
  const at::Tensor values = drawn.to(old.options());
  const int64_t kept = std::min(rows, old.size(0));
  values.slice(0, 0, kept).copy_(old.slice(0, 0, kept));
  embeddings.replace_word_embeddings(std::make_shared<Embedding>(values));
  config_.vocab_size = rows;
  base().mutable_config().vocab_size = rows;
  resize_output_embeddings(rows);
  tie_weights();
}

}  // namespace qdqbert::model
