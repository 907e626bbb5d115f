#include "tests/onnx/random_bert.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "qdqbert/base/error.h"

namespace qdqbert::testing {

using onnx::GraphHead;

void RandomBert::add(const std::string& name, const Shape& shape, float deviation, float mean) {
  std::seed_seq seeds(name.begin(), name.end());
  std::mt19937_64 engine(seeds);
  engine.discard(options_.seed);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (float& value : values) value = normal(engine);
  weights[name] = make_tensor(shape, std::span<const float>(values));
}

void RandomBert::add_linear(const std::string& name, int64_t in, int64_t out) {
  add(name + ".weight", {out, in}, 1.0f / std::sqrt(static_cast<float>(in)));
  add(name + ".bias", {out}, 0.1f);
}

void RandomBert::add_norm(const std::string& name) {
  add(name + ".weight", {options_.hidden}, 0.1f, 1.0f);
  add(name + ".bias", {options_.hidden}, 0.1f);
}

void RandomBert::add_quantized_linear(const std::string& name, int64_t in, int64_t out) {
  add_linear(name, in, out);
  onnx::QuantizerRange& range = ranges[name + "._weight_quantizer"];
  range.enabled = options_.quantized;
  range.per_channel = options_.per_channel;
  const std::vector<float> values = to_float32(weights[name + ".weight"].view());
  range.amax.assign(options_.per_channel ? out : 1, 0.0f);
  for (size_t i = 0; i < values.size(); ++i) {
    float& amax = range.amax[options_.per_channel ? i / in : 0];
    amax = std::max(amax, std::fabs(values[i]));
  }
  ranges[name + "._input_quantizer"] = {options_.quantized, 8, false, false, {4.0f}, false};
}

void RandomBert::add_residual(const std::string& name, int64_t in) {
  add_quantized_linear(name + ".dense", in, options_.hidden);
  add_norm(name + ".LayerNorm");
  ranges[name + ".add_local_input_quantizer"] = {options_.quantized, 8, false, false, {3.0f}, false};
  ranges[name + ".add_residual_input_quantizer"] = {options_.quantized, 8, false, false, {4.0f}, false};
}

void RandomBert::add_attention(const std::string& name) {
  for (const char* linear : {"query", "key", "value"})
    add_quantized_linear(name + ".self." + linear, options_.hidden, options_.hidden);
  add(name + ".self.distance_embedding.weight",
      {2 * options_.positions - 1, options_.hidden / options_.heads}, 0.1f);
  for (const char* operand : {"q", "k", "v", "a"})
    ranges[name + ".self.matmul_" + operand + "_input_quantizer"] = {
        options_.quantized, 8, false, false, {*operand == 'a' ? 1.0f : 3.0f}, false};
  add_residual(name + ".output", options_.hidden);
}

RandomBert::RandomBert(const RandomBertOptions& options) : options_(options) {
  const std::string base = options.head == GraphHead::kBase ? "" : "bert.";
  const int64_t hidden = options.hidden;
  add(base + "embeddings.word_embeddings.weight", {options.vocabulary, hidden}, 0.5f);
  add(base + "embeddings.position_embeddings.weight", {options.positions, hidden}, 0.3f);
  add(base + "embeddings.token_type_embeddings.weight", {options.types, hidden}, 0.3f);
  add_norm(base + "embeddings.LayerNorm");
  for (int64_t i = 0; i < options.layers; ++i) {
    const std::string layer = base + "encoder.layer." + std::to_string(i) + ".";
    add_attention(layer + "attention");
    if (options.cross_attention) add_attention(layer + "crossattention");
    add_residual(layer + "output", options.intermediate);
    add_quantized_linear(layer + "intermediate.dense", hidden, options.intermediate);
  }
  add_linear(base + "pooler.dense", hidden, hidden);
  add_linear("qa_outputs", hidden, 2);
  add_linear("classifier", hidden, options.head == GraphHead::kMultipleChoice ? 1 : options.labels);
  add_linear("cls.seq_relationship", hidden, 2);
  add_linear("cls.predictions.transform.dense", hidden, hidden);
  add_norm("cls.predictions.transform.LayerNorm");
  add_linear("cls.predictions.decoder", hidden, options.vocabulary);
  add("cls.predictions.bias", {options.vocabulary}, 0.1f);
}

onnx::BertSource RandomBert::source() const {
  onnx::BertSource source;
  source.head = options_.head;
  source.base_prefix = options_.head == GraphHead::kBase ? "" : "bert.";
  source.has_pooler = options_.head == GraphHead::kBase;
  source.layers = options_.layers;
  source.hidden_size = options_.hidden;
  source.head_size = options_.hidden / options_.heads;
  source.max_positions = options_.positions;
  source.activation = options_.activation;
  source.positions = options_.position_kind;
  source.is_decoder = options_.decoder;
  source.cross_attention = options_.cross_attention;
  source.tied_decoder = true;
  source.weight = [this](const std::string& key) -> TensorView {
    const auto found = weights.find(key);
    if (found == weights.end()) fail("[test] no weight {}", key);
    return found->second.view();
  };
  source.quantizer = [this](const std::string& path) {
    const auto found = ranges.find(path);
    return found == ranges.end() ? onnx::QuantizerRange{} : found->second;
  };
  return source;
}

}  // namespace qdqbert::testing
