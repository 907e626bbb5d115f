#include <fmt/format.h>

#include "qdqbert/engine/passes/expand.h"

namespace qdqbert::engine {

namespace {

/// The forms that are written here: axes as inputs, LayerNormalization, Gelu.
constexpr int64_t kOpset = 20;
/// TensorProto.DataType
constexpr int64_t kInt32 = 6;

/// A vector of floats; its size, or 0.
int64_t vector_size(const Expansion& e, ValueId id) {
  const Tensor* tensor = e.constant(id);
  return tensor && tensor->dtype == DType::kF32 && tensor->shape.size() == 1 ? tensor->count() : 0;
}

bool layer_norm(Expansion& e, ValueId x, ValueId gamma, ValueId beta, float epsilon) {
  if (beta == kNoValue) {
    const int64_t size = vector_size(e, gamma);
    if (size == 0) return false;
    beta = e.zeros(size);
  }
  e.add("LayerNormalization", {x, gamma, beta}, {{"epsilon", epsilon}, {"axis", int64_t{-1}}},
        e.node().outputs[0]);
  return true;
}

bool norm_without_bias(Expansion& e) {
  const Node& node = e.node();
  if (e.has_output(1) || e.has_output(2) || node.integer("stash_type", 1) != 1 || e.input(1) == kNoValue)
    return false;
  if (node.op == "LayerNormalization" && (e.input(2) != kNoValue || node.integer("axis", -1) != -1))
    return false;
  if (node.integer("axis", -1) != -1) return false;
  return layer_norm(e, e.input(0), e.input(1), e.input(2), node.real("epsilon", 1e-5f));
}

bool skip_norm(Expansion& e) {
  if (e.has_output(1) || e.has_output(2) || e.input(1) == kNoValue || e.input(2) == kNoValue) return false;
  if (e.input(3) == kNoValue && vector_size(e, e.input(2)) == 0) return false;
  ValueId x = e.input(0);
  // The bias first: with the product in front of it it is a linear layer.
  if (e.input(4) != kNoValue) x = e.add("Add", {x, e.input(4)});
  const ValueId sum = e.add("Add", {x, e.input(1)}, {}, e.has_output(3) ? e.node().outputs[3] : kNoValue);
  return layer_norm(e, sum, e.input(2), e.input(3), e.node().real("epsilon", 1e-12f));
}

bool embed_norm(Expansion& e) {
  for (const size_t needed : {0, 2, 3, 5, 6})
    if (e.input(needed) == kNoValue) return false;
  if ((e.input(1) == kNoValue) != (e.input(4) == kNoValue)) return false;
  if (e.has_output(1) && e.input(7) == kNoValue) return false;
  const ValueId ids = e.input(0);
  ValueId positions = e.input(8);
  if (positions == kNoValue) {
    const ValueId length =
        e.add("Gather", {e.add("Shape", {ids}), e.integers({1}, true)}, {{"axis", int64_t{0}}});
    positions = e.add("Range", {e.integers({0}, true), length, e.integers({1}, true)});
  }
  const auto rows = [&](ValueId table, ValueId index) {
    return e.add("Gather", {table, index}, {{"axis", int64_t{0}}});
  };
  ValueId sum = rows(e.input(2), ids);
  if (e.input(4) != kNoValue) sum = e.add("Add", {sum, rows(e.input(4), e.input(1))});
  sum =
      e.add("Add", {sum, rows(e.input(3), positions)}, {}, e.has_output(2) ? e.node().outputs[2] : kNoValue);
  // How many tokens of each text the mask keeps.
  if (e.has_output(1)) {
    const ValueId mask = e.add("Cast", {e.input(7)}, {{"to", kInt32}});
    e.add("ReduceSum", {mask, e.integers({1})}, {{"keepdims", int64_t{0}}}, e.node().outputs[1]);
  }
  return layer_norm(e, sum, e.input(5), e.input(6), e.node().real("epsilon", 1e-12f));
}

bool gelu(Expansion& e, const char* approximate) {
  ValueId x = e.input(0);
  if (e.input(1) != kNoValue) x = e.add("Add", {x, e.input(1)});
  e.add("Gelu", {x}, {{"approximate", std::string(approximate)}}, e.node().outputs[0]);
  return true;
}

bool quick_gelu(Expansion& e) {
  const ValueId scaled = e.add("Mul", {e.input(0), e.number(e.node().real("alpha", 1.702f))});
  e.add("Mul", {e.input(0), e.add("Sigmoid", {scaled})}, {}, e.node().outputs[0]);
  return true;
}

bool fused_gemm(Expansion& e) {
  const std::string activation = e.node().text("activation", "");
  if (activation != "Relu" && activation != "Tanh" && activation != "Sigmoid") return false;
  std::map<std::string, Attribute> attributes = e.node().attributes;
  attributes.erase("activation");
  const ValueId sum = e.add("Gemm", e.node().inputs, std::move(attributes));
  e.add(activation, {sum}, {}, e.node().outputs[0]);
  return true;
}

bool rms_norm(Expansion& e) {
  const Node& node = e.node();
  if (node.integer("axis", -1) != -1 || node.integer("stash_type", 1) != 1 || e.input(1) == kNoValue)
    return false;
  const ValueId x = e.input(0), mean = e.add("ReduceMean", {e.add("Mul", {x, x}), e.integers({-1})});
  const ValueId root = e.add("Sqrt", {e.add("Add", {mean, e.number(node.real("epsilon", 1e-5f))})});
  e.add("Mul", {e.add("Div", {x, root}), e.input(1)}, {}, node.outputs[0]);
  return true;
}

bool expand(Expansion& e, const Probes& probes) {
  const std::string& op = e.node().op;
  if (e.input(0) == kNoValue || !e.has_output(0)) return false;
  if (op == "LayerNormalization" || op == "com.microsoft.LayerNormalization") return norm_without_bias(e);
  if (op == "com.microsoft.SkipLayerNormalization") return skip_norm(e);
  if (op == "com.microsoft.EmbedLayerNormalization") return embed_norm(e);
  if (op == "com.microsoft.BiasGelu") return e.input(1) != kNoValue && gelu(e, "none");
  if (op == "com.microsoft.FastGelu") return gelu(e, "tanh");
  if (op == "com.microsoft.QuickGelu") return quick_gelu(e);
  if (op == "com.microsoft.FusedGemm") return fused_gemm(e);
  if (op == "RMSNormalization") return rms_norm(e);
  return expand_attention(e, probes);
}

bool has_layers(const Graph& graph) {
  for (const Node& node : graph.nodes)
    if (node.op.starts_with("com.microsoft.") || node.op == "Attention" || node.op == "RMSNormalization" ||
        (node.op == "LayerNormalization" && (node.inputs.size() < 3 || node.inputs[2] == kNoValue)))
      return true;
  return false;
}

}  // namespace

std::string Expansion::fresh(const std::string& op) {
  return fmt::format("{}/{}_{}", node_.name, op, nodes_.size());
}

bool Expansion::counts_keys(ValueId id) const {
  for (const Node& node : graph_.nodes)
    if (node.op == "com.microsoft.EmbedLayerNormalization" && node.outputs.size() > 1 &&
        node.outputs[1] == id)
      return true;
  return false;
}

ValueId Expansion::number(float value) {
  return graph_.add_constant(fresh("number") + "_" + std::to_string(graph_.values.size()),
                             tensor_of(make_tensor({}, std::span<const float>(&value, 1))));
}

ValueId Expansion::zeros(int64_t count) {
  const std::vector<float> values(static_cast<size_t>(count), 0.0f);
  return graph_.add_constant(fresh("zeros") + "_" + std::to_string(graph_.values.size()),
                             tensor_of(make_tensor({count}, std::span<const float>(values))));
}

ValueId Expansion::integers(const std::vector<int64_t>& values, bool scalar) {
  const Shape shape = scalar ? Shape{} : Shape{static_cast<int64_t>(values.size())};
  return graph_.add_constant(fresh("integers") + "_" + std::to_string(graph_.values.size()),
                             tensor_of(make_tensor(shape, std::span<const int64_t>(values))));
}

ValueId Expansion::add(const std::string& op, std::vector<ValueId> inputs,
                       std::map<std::string, Attribute> attributes, ValueId output) {
  const std::string name = output == kNoValue ? fresh(op) : node_.name;
  if (output == kNoValue) output = graph_.add_value(name + "_output");
  nodes_.push_back({name, op, kOpset, std::move(inputs), {output}, std::move(attributes)});
  return output;
}

std::vector<ValueId> Expansion::split(ValueId from, const std::vector<int64_t>& sizes) {
  const ValueId counts = integers(sizes);
  const std::string name = fresh("Split");
  std::vector<ValueId> outputs;
  for (size_t i = 0; i < sizes.size(); ++i)
    outputs.push_back(graph_.add_value(fmt::format("{}_output_{}", name, i)));
  nodes_.push_back({name, "Split", kOpset, {from, counts}, outputs, {{"axis", int64_t{-1}}}});
  return outputs;
}

void expand_layers(Graph& graph) {
  if (!has_layers(graph)) return;
  const Probes probes = probe(graph);
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    const size_t values = graph.values.size();
    Expansion expansion(graph, node);
    if (expand(expansion, probes)) {
      for (Node& made : expansion.take()) nodes.push_back(std::move(made));
      continue;
    }
    graph.values.resize(values);
    nodes.push_back(std::move(node));
  }
  graph.nodes = std::move(nodes);
}

}  // namespace qdqbert::engine
