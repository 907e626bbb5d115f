// A BERT of any size with seeded random weights and ranges, without LibTorch.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "qdqbert/onnx/bert_graph.h"

namespace qdqbert::testing {

struct RandomBertOptions {
  onnx::GraphHead head = onnx::GraphHead::kQuestionAnswering;
  int64_t layers = 2, hidden = 32, heads = 4, intermediate = 64, vocabulary = 100, positions = 64, types = 2;
  int64_t labels = 2;
  onnx::ActivationGraph activation = onnx::ActivationGraph::kGelu;
  onnx::GraphPositions position_kind = onnx::GraphPositions::kAbsolute;
  bool decoder = false, cross_attention = false;
  bool quantized = true;
  bool per_channel = true;
  uint64_t seed = 1;
};

/// Owns the weights that source() gives views of.
class RandomBert {
 public:
  explicit RandomBert(const RandomBertOptions& options);
  onnx::BertSource source() const;
  /// Ranges by module path; tests may change them.
  std::map<std::string, onnx::QuantizerRange> ranges;
  std::map<std::string, OwnedTensor> weights;

 private:
  void add(const std::string& name, const Shape& shape, float deviation, float mean = 0);
  void add_linear(const std::string& name, int64_t in, int64_t out);
  void add_norm(const std::string& name);
  void add_attention(const std::string& name);
  void add_residual(const std::string& name, int64_t in);
  void add_quantized_linear(const std::string& name, int64_t in, int64_t out);
  RandomBertOptions options_;
};

}  // namespace qdqbert::testing
