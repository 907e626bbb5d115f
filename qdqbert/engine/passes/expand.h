// Layers that other tools write as one node, taken apart into operators of the standard domain, so that passes
// and reference operators see what they know.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qdqbert/engine/graph.h"
#include "qdqbert/engine/passes/probe.h"

namespace qdqbert::engine {

/// com.microsoft Attention, MultiHeadAttention, EmbedLayerNormalization, SkipLayerNormalization,
/// LayerNormalization, BiasGelu, FastGelu, QuickGelu, FusedGemm, and Attention and RMSNormalization of the
/// standard domain; a bias of zeros where LayerNormalization has none. A node with what these lack here (a
/// past, rotary embeddings, soft caps, grouped heads, further outputs) stays as it is.
void expand_layers(Graph& graph);

/// Nodes in the place of one, in the order in which they are added.
class Expansion {
 public:
  Expansion(Graph& graph, const Node& node) : graph_(graph), node_(node) {}

  const Node& node() const { return node_; }
  /// kNoValue for inputs that are left out.
  ValueId input(size_t index) const { return index < node_.inputs.size() ? node_.inputs[index] : kNoValue; }
  bool has_output(size_t index) const {
    return index < node_.outputs.size() && node_.outputs[index] != kNoValue;
  }
  const Tensor* constant(ValueId id) const {
    return graph_.is_constant(id) ? &*graph_.values[id].constant : nullptr;
  }

  /// Whether the value is the number of kept tokens that EmbedLayerNormalization counts for each text.
  bool counts_keys(ValueId id) const;

  ValueId number(float value);
  ValueId zeros(int64_t count);
  ValueId integers(const std::vector<int64_t>& values, bool scalar = false);
  /// The result is a new value, or `output`.
  ValueId add(const std::string& op, std::vector<ValueId> inputs,
              std::map<std::string, Attribute> attributes = {}, ValueId output = kNoValue);
  std::vector<ValueId> split(ValueId from, const std::vector<int64_t>& sizes);

  std::vector<Node> take() { return std::move(nodes_); }

 private:
  std::string fresh(const std::string& op);
  Graph& graph_;
  const Node& node_;
  std::vector<Node> nodes_;
};

/// Whether the node was an attention that could be taken apart.
bool expand_attention(Expansion& expansion, const Probes& probes);

}  // namespace qdqbert::engine
