// One small random model for every kind of file that we write, with what runtimes should make of it.
#pragma once

#include <string>
#include <vector>

#include "tests/onnx/random_bert.h"

namespace qdqbert::testing {

struct ExportKind {
  std::string name;
  RandomBertOptions model;
  onnx::BertGraphOptions graph;
  int64_t attentions = 2;  ///< that TensorRT fuses
  int64_t products = 8;    ///< INT8 GEMMs of its engine: query, key and value of a layer are one
  /// Q nodes that are a layer of its engine each, because nothing writes what they read but an input, or
  /// because an output of the graph needs it in float.
  std::vector<std::string> own_layers = {};
};

/// Two layers with heads of 16, which TensorRT's fused attention takes,
/// and 512 positions, the most that it takes.
RandomBertOptions fusing_bert();

/// Opsets, forms of weights, head sizes, activations, positions, heads, decoders with every form of cache.
std::vector<ExportKind> export_kinds();

}  // namespace qdqbert::testing
