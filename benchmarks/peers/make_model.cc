// Writes a question-answering model, or with --labels a classifier, of any size with seeded random weights,
// as our own exporter writes one. For speed only sizes matter; weights and ranges are chosen such that no
// quantizer saturates or starves, so that outputs of different engines can be compared.
//
//   make_model --output FILE [--layers 12 --hidden 768 --heads 12 --intermediate 3072 --vocabulary 30522]
//              [--labels N] [--form qdq|int8-weights|float]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "qdqbert/base/error.h"
#include "qdqbert/base/parallel.h"
#include "qdqbert/onnx/bert_graph.h"
#include "qdqbert/onnx/writer.h"

namespace qdqbert {
namespace {

struct Options {
  std::string output, form = "qdq";
  int64_t layers = 12, hidden = 768, heads = 12, intermediate = 3072, vocabulary = 30522, positions = 512,
          labels = 0;
};

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// Sum of four uniform numbers, scaled to deviation 1: bell-shaped, never beyond 3.5 deviations.
float bell(uint64_t seed) {
  const uint64_t bits = mix(seed);
  float sum = -2.0f;
  for (int part = 0; part < 4; ++part)
    sum += static_cast<float>((bits >> (16 * part)) & 0xffff) * (1.0f / 65536);
  return sum * std::sqrt(3.0f);
}

class RandomModel {
 public:
  explicit RandomModel(const Options& options) : options_(options) {
    const int64_t hidden = options.hidden;
    // A linear layer with this deviation over the square root of its inputs gives outputs
    // of this deviation for normalised inputs.
    constexpr float kPeaked = 1.4f;  // scores of deviation 2: attention that looks at some tokens
    constexpr float kPlain = 0.55f;
    add("bert.embeddings.word_embeddings.weight", {options.vocabulary, hidden}, 1.0f);
    add("bert.embeddings.position_embeddings.weight", {options.positions, hidden}, 0.3f);
    add("bert.embeddings.token_type_embeddings.weight", {2, hidden}, 0.3f);
    norm("bert.embeddings.LayerNorm");
    for (int64_t i = 0; i < options.layers; ++i) {
      const std::string layer = "bert.encoder.layer." + std::to_string(i) + ".";
      const std::string self = layer + "attention.self.";
      linear(self + "query", hidden, hidden, kPeaked, 6.0f);
      linear(self + "key", hidden, hidden, kPeaked, 6.0f);
      linear(self + "value", hidden, hidden, kPlain, 6.0f);
      range(self + "matmul_q_input_quantizer", 7.0f);
      range(self + "matmul_k_input_quantizer", 7.0f);
      range(self + "matmul_v_input_quantizer", 3.0f);
      range(self + "matmul_a_input_quantizer", 1.0f);
      linear(layer + "attention.output.dense", hidden, hidden, kPlain, 2.5f);
      range(layer + "attention.output.add_local_input_quantizer", 1.5f);
      range(layer + "attention.output.add_residual_input_quantizer", 6.0f);
      norm(layer + "attention.output.LayerNorm");
      linear(layer + "intermediate.dense", hidden, options.intermediate, kPlain, 6.0f);
      linear(layer + "output.dense", options.intermediate, hidden, 2 * kPlain, 3.5f);
      range(layer + "output.add_local_input_quantizer", 3.0f);
      range(layer + "output.add_residual_input_quantizer", 6.0f);
      norm(layer + "output.LayerNorm");
    }
    if (options.labels > 0) {
      add("bert.pooler.dense.weight", {hidden, hidden}, kPlain / std::sqrt(static_cast<float>(hidden)));
      add("bert.pooler.dense.bias", {hidden}, 0.05f);
      add("classifier.weight", {options.labels, hidden}, 3.0f / std::sqrt(static_cast<float>(hidden)));
      add("classifier.bias", {options.labels}, 0.0f);
      return;
    }
    add("qa_outputs.weight", {2, hidden}, 3.0f / std::sqrt(static_cast<float>(hidden)));
    add("qa_outputs.bias", {2}, 0.0f);
  }

  onnx::BertSource source() const {
    onnx::BertSource source;
    if (options_.labels > 0) {
      source.head = onnx::GraphHead::kSequenceClassification;
      source.has_pooler = true;
    }
    source.layers = options_.layers;
    source.hidden_size = options_.hidden;
    source.head_size = options_.hidden / options_.heads;
    source.max_positions = options_.positions;
    source.weight = [this](const std::string& key) -> TensorView {
      const auto found = weights_.find(key);
      if (found == weights_.end()) fail("[model] no weight {}", key);
      return found->second.view();
    };
    source.quantizer = [this](const std::string& path) {
      const auto found = ranges_.find(path);
      return found == ranges_.end() || options_.form == "float" ? onnx::QuantizerRange{} : found->second;
    };
    return source;
  }

 private:
  void add(const std::string& name, const Shape& shape, float deviation, float mean = 0) {
    std::vector<float> values(static_cast<size_t>(element_count(shape)));
    const uint64_t seed = mix(weights_.size() + 1);
    parallel_for(values.size(), 1 << 16, 0, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) values[i] = mean + deviation * bell(seed + i);
    });
    weights_[name] = make_tensor(shape, std::span<const float>(values));
  }

  void norm(const std::string& name) {
    add(name + ".weight", {options_.hidden}, 0.05f, 1.0f);
    add(name + ".bias", {options_.hidden}, 0.05f);
  }

  void linear(const std::string& name, int64_t in, int64_t out, float deviation, float input_range) {
    add(name + ".weight", {out, in}, deviation / std::sqrt(static_cast<float>(in)));
    add(name + ".bias", {out}, 0.05f);
    const std::vector<float> values = to_float32(weights_[name + ".weight"].view());
    onnx::QuantizerRange& weight = ranges_[name + "._weight_quantizer"];
    weight.enabled = weight.per_channel = true;
    weight.amax.assign(static_cast<size_t>(out), 0.0f);
    for (size_t i = 0; i < values.size(); ++i) {
      float& amax = weight.amax[i / static_cast<size_t>(in)];
      amax = std::max(amax, std::fabs(values[i]));
    }
    range(name + "._input_quantizer", input_range);
  }

  void range(const std::string& path, float amax) { ranges_[path] = {true, 8, false, false, {amax}, false}; }

  Options options_;
  std::map<std::string, OwnedTensor> weights_;
  std::map<std::string, onnx::QuantizerRange> ranges_;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    if (i + 1 == argc) fail<UsageError>("[make_model] {} needs a value", flag);
    const std::string value = argv[i + 1];
    if (flag == "--output") {
      options.output = value;
    } else if (flag == "--form") {
      options.form = value;
    } else if (flag == "--layers") {
      options.layers = std::stoll(value);
    } else if (flag == "--hidden") {
      options.hidden = std::stoll(value);
    } else if (flag == "--heads") {
      options.heads = std::stoll(value);
    } else if (flag == "--intermediate") {
      options.intermediate = std::stoll(value);
    } else if (flag == "--labels") {
      options.labels = std::stoll(value);
    } else if (flag == "--vocabulary") {
      options.vocabulary = std::stoll(value);
    } else {
      fail<UsageError>("[make_model] there is no flag {}", flag);
    }
  }
  if (options.output.empty()) fail<UsageError>("[make_model] --output is missing");
  if (options.form != "qdq" && options.form != "int8-weights" && options.form != "float")
    fail<UsageError>("[make_model] there is no form {}", options.form);
  return options;
}

}  // namespace
}  // namespace qdqbert

int main(int argc, char** argv) {
  try {
    const qdqbert::Options options = qdqbert::parse(argc, argv);
    const qdqbert::RandomModel model(options);
    const bool int8_weights = options.form == "int8-weights";
    qdqbert::onnx::BertGraphOptions graph;
    graph.int8_weights = int8_weights;
    qdqbert::onnx::WriteOptions write;
    if (int8_weights) write.external_data_threshold = 0;
    qdqbert::onnx::write_model(qdqbert::onnx::build_bert_graph(model.source(), graph), options.output, write);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
