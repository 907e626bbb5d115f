// The parts of which bert_graph.cc puts a model together.
#pragma once

#include <map>
#include <string>

#include "qdqbert/onnx/bert_graph.h"
#include "qdqbert/onnx/builder.h"

namespace qdqbert::onnx {

/// A place in the module tree.
struct Scope {
  std::string key;   ///< "bert.encoder.layer.0.attention": prefix of state-dict keys
  std::string path;  ///< "/bert/encoder/layer.0/attention": prefix of node names

  Scope child(const std::string& name) const {
    return {key.empty() ? name : key + "." + name, path + "/" + name};
  }
};

/// What all layers read.
struct LayerContext {
  Value mask;                    ///< additive, [B, 1, 1 or S, K]
  Value distance_index;          ///< [S, K] rows of the distance table; empty: no relative positions
  Value encoder_states;          ///< [B, T, H] of a cross-attention; empty: none, or its keys are in the past
  Value encoder_mask;            ///< additive, [B, 1, 1, T]
  Value encoder_distance_index;  ///< [S, T]
};

/// Keys and values [B, A, K, d]; empty where there are none.
struct CacheValues {
  Value key, value;
};
struct LayerCache {
  CacheValues self, cross;
};

/// Emits modules into one graph and remembers which Q/DQ pairs exist.
class BertWriter {
 public:
  BertWriter(const BertSource& source, const BertGraphOptions& options);

  GraphBuilder& graph() { return graph_; }
  DType float_type() const { return float_type_; }
  Value number(double value);

  /// The initializer of a parameter, added at the first use.
  Value parameter(const std::string& key);
  /// y = x W + b with W stored [in, out]; quantizers under `scope` apply.
  Value quant_linear(const Scope& scope, const Value& x);
  Value float_linear(const Scope& scope, const Value& x);
  Value bias_and_matmul(const Scope& scope, const Value& x, const Value& weight, const std::string& bias_key);
  Value layer_norm(const Scope& scope, const Value& x);
  Value embedding(const Scope& scope, const Value& ids);
  Value activation(const Scope& scope, const Value& x);

  /// `x` through the quantizer at `scope`; x itself when it is disabled.
  /// `range_divisor`: the tensor was divided by that.
  Value quantize(const Scope& scope, const Value& x, double range_divisor = 1.0);

  /// One layer. `past`: what earlier calls left, or nothing. `present`: gets keys and values to be handed on;
  /// null: they are not wanted.
  Value layer(const Scope& scope, const Value& x, const LayerContext& context, const LayerCache& past,
              LayerCache* present);

 private:
  Value quantized_weight(const Scope& scope, int64_t rows, int64_t columns);
  Value split_heads(const Scope& scope, const Value& x, int64_t heads, const std::vector<int64_t>& order);
  /// `states`: where keys and values come from; empty: from `past` alone.
  Value attention(const Scope& scope, const Value& x, const Value& states, const Value& mask,
                  const Value& distance_index, const CacheValues& past, CacheValues* present);
  Value relative_scores(const Scope& scope, Value scores, const Value& q, const Value& k,
                        const Value& distance_index, double q_scale);
  Value residual_output(const Scope& scope, const Value& x, const Value& residual);
  QuantizerRange checked_range(const Scope& scope) const;
  std::vector<float> scales_of(const Scope& scope, const QuantizerRange& range, double range_divisor) const;
  void check_finite_half(const std::string& key, const OwnedTensor& tensor) const;

  const BertSource& source_;
  const BertGraphOptions& options_;
  GraphBuilder graph_;
  DType float_type_;
  std::map<std::pair<Value, std::vector<float>>, Value> quantized_;  // (tensor, scales) to the DQ output
};

}  // namespace qdqbert::onnx
