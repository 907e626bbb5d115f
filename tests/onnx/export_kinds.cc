#include "tests/onnx/export_kinds.h"

#include <fmt/format.h>

namespace qdqbert::testing {

using onnx::ActivationGraph;
using onnx::BertGraphOptions;
using onnx::GraphCache;
using onnx::GraphHead;
using onnx::GraphPositions;

RandomBertOptions fusing_bert() {
  RandomBertOptions model;
  model.hidden = 64;
  model.heads = 4;
  model.intermediate = 128;
  model.positions = 512;
  return model;
}

std::vector<ExportKind> export_kinds() {
  std::vector<ExportKind> kinds;
  const auto add = [&](std::string name, const auto& change) -> ExportKind& {
    ExportKind& kind = kinds.emplace_back(ExportKind{std::move(name), fusing_bert(), {}});
    change(kind.model, kind.graph);
    return kind;
  };
  const std::string layers = "/bert/encoder/layer.";
  using M = RandomBertOptions;
  using G = BertGraphOptions;
  for (const int opset : {13, 14, 15, 16, 17, 19})
    add(fmt::format("opset-{}", opset), [&](M&, G& graph) { graph.opset = opset; });
  for (const int opset : {13, 19}) {
    const std::string half = opset == 19 ? "-half" : "";
    add("int8-weights" + half, [&](M&, G& graph) { graph = {opset, true}; });
    ExportKind& per_tensor = add("per-tensor" + half, [&](M& model, G& graph) {
      model.per_channel = false;
      graph.opset = opset;
    });
    // In half precision scales that differ keep query, key and value apart.
    if (opset == 19) per_tensor.products = 12;
    add("trt-attention" + half, [&](M&, G& graph) { graph = {opset, false, true}; });
    ExportKind& states = add("hidden-states" + half, [&](M&, G& graph) {
      graph.opset = opset;
      graph.hidden_states = true;
    });
    if (opset == 13) states.own_layers = {layers + "0/attention/self/query/_input_quantizer/QuantizeLinear"};
  }
  add("positions-1024", [](M& model, G&) { model.positions = 1024; });
  for (const int64_t head_size : {32, 64})
    add(fmt::format("heads-of-{}", head_size), [&](M& model, G&) {
      model.hidden = 128;
      model.heads = 128 / head_size;
    });
  const std::pair<const char*, ActivationGraph> activations[] = {{"gelu_new", ActivationGraph::kGeluTanh},
                                                                 {"relu", ActivationGraph::kRelu},
                                                                 {"silu", ActivationGraph::kSilu},
                                                                 {"tanh", ActivationGraph::kTanh}};
  for (const auto& [name, activation] : activations)
    add(std::string("activation-") + name, [kind = activation](M& model, G&) { model.activation = kind; });
  add("relative_key", [](M& model, G&) { model.position_kind = GraphPositions::kRelativeKey; });
  add("relative_key_query", [](M& model, G&) { model.position_kind = GraphPositions::kRelativeKeyQuery; });
  add("embed", [](M& model, G&) { model.head = GraphHead::kBase; });
  add("classify", [](M& model, G&) { model.head = GraphHead::kSequenceClassification; });
  add("tag", [](M& model, G&) { model.head = GraphHead::kTokenClassification; });
  add("choose", [](M& model, G&) { model.head = GraphHead::kMultipleChoice; });
  add("lm-masked", [](M& model, G&) { model.head = GraphHead::kLanguageModel; });
  add("lm-nsp", [](M& model, G&) { model.head = GraphHead::kNextSentence; });
  for (const bool crossing : {false, true}) {
    const std::string name = crossing ? "lm-crossing" : "lm-causal";
    const std::pair<const char*, GraphCache> caches[] = {
        {"", GraphCache::kNone}, {"-present", GraphCache::kPresent}, {"-past", GraphCache::kPast}};
    for (const auto& [suffix, cache] : caches) {
      ExportKind& kind = add(name + suffix, [crossing, kept = cache](M& model, G& graph) {
        model.head = GraphHead::kLanguageModel;
        model.decoder = true;
        model.cross_attention = crossing;
        graph.cache = kept;
      });
      if (!crossing) continue;
      // Six a layer, and keys and values of the other text for all layers in one.
      kind.attentions = 4;
      kind.products = cache == GraphCache::kPast ? 12 : 13;
      if (cache == GraphCache::kPast) {
        for (const char* layer : {"0", "1"})
          kind.own_layers.push_back(layers + layer +
                                    "/crossattention/self/matmul_v_input_quantizer/QuantizeLinear");
      } else {
        kind.own_layers = {layers + "0/crossattention/self/key/_input_quantizer/QuantizeLinear"};
      }
    }
  }
  return kinds;
}

}  // namespace qdqbert::testing
