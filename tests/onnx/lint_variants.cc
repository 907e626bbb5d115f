#include "tests/onnx/lint_variants.h"

#include <functional>
#include <stdexcept>

#include <onnx/onnx_pb.h>

#include "tests/onnx/export_kinds.h"

namespace qdqbert::testing {
namespace {

using onnx::BertGraphOptions;
using Node = ::onnx::NodeProto;

const std::string kLayer = "bert.encoder.layer.0.", kSelf = kLayer + "attention.self.";
const std::string kLayerPath = "/bert/encoder/layer.0/", kSelfPath = kLayerPath + "attention/self/",
                  kDensePath = kLayerPath + "attention/output/dense/";

/// Changes to one graph, by names of nodes.
class Edit {
 public:
  explicit Edit(onnx::Model& model) : model_(model), graph_(*model.proto().mutable_graph()) {}

  Node& node(const std::string& name) {
    for (auto& node : *graph_.mutable_node())
      if (node.name() == name) return node;
    throw std::logic_error("no node " + name);
  }
  std::string output(const std::string& name) { return node(name).output(0); }

  /// A node before `reader`; returns its output.
  std::string insert(const std::string& reader, const std::string& op, const std::string& name,
                     const std::vector<std::string>& inputs) {
    Node made;
    made.set_op_type(op);
    made.set_name(name);
    for (const std::string& input : inputs) made.add_input(input);
    made.add_output(name + "_output_0");
    auto& nodes = *graph_.mutable_node();
    *nodes.Add() = made;
    int at = nodes.size() - 1;
    for (; at > 0 && nodes[at - 1].name() != reader; --at) nodes.SwapElements(at, at - 1);
    nodes.SwapElements(at, at - 1);
    return made.output(0);
  }
  /// `op` between `reader` and its input at `position`.
  void between(const std::string& reader, int position, const std::string& op, const std::string& name,
               const std::vector<std::string>& further = {}) {
    std::vector<std::string> inputs = {node(reader).input(position)};
    inputs.insert(inputs.end(), further.begin(), further.end());
    const std::string made = insert(reader, op, name, inputs);
    node(reader).set_input(position, made);
  }
  /// A Q/DQ pair in front of an input of `reader`.
  void quantize(const std::string& reader, int position, const std::string& scope) {
    const std::string scale = constant<float>(scope + ".scale", ::onnx::TensorProto::FLOAT, {}, {0.03f});
    const std::string zero = constant<int8_t>(scope + ".zero", ::onnx::TensorProto::INT8, {}, {0});
    between(reader, position, "QuantizeLinear", scope + "/QuantizeLinear", {scale, zero});
    between(reader, position, "DequantizeLinear", scope + "/DequantizeLinear", {scale, zero});
  }
  /// Takes a node out; readers of its output read its first input.
  void remove(const std::string& name) {
    const std::string from = output(name), to = node(name).input(0);
    for (auto& other : *graph_.mutable_node())
      for (auto& input : *other.mutable_input())
        if (input == from) input = to;
    auto& nodes = *graph_.mutable_node();
    for (int i = 0; i < nodes.size(); ++i)
      if (nodes[i].name() == name) return nodes.DeleteSubrange(i, 1);
  }

  template <class T>
  std::string constant(const std::string& name, int type, const std::vector<int64_t>& shape,
                       const std::vector<T>& values) {
    auto* tensor = graph_.add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(type);
    for (const int64_t size : shape) tensor->add_dims(size);
    tensor->set_raw_data(values.data(), values.size() * sizeof(T));
    return name;
  }
  void add_output(const std::string& edge, int type) {
    auto* output = graph_.add_output();
    output->set_name(edge);
    output->mutable_type()->mutable_tensor_type()->set_elem_type(type);
  }
  void set_attribute(const std::string& name, const std::string& attribute, int64_t value) {
    Node& changed = node(name);
    for (auto& each : *changed.mutable_attribute())
      if (each.name() == attribute) return each.set_i(value);
    auto* added = changed.add_attribute();
    added->set_name(attribute);
    added->set_type(::onnx::AttributeProto::INT);
    added->set_i(value);
  }
  void set_perm(const std::string& name, const std::vector<int64_t>& order) {
    auto* added = node(name).add_attribute();
    added->set_name("perm");
    added->set_type(::onnx::AttributeProto::INTS);
    for (const int64_t axis : order) added->add_ints(axis);
  }
  /// Both nodes of a pair read this zero point, "" for none.
  void set_zero(const std::string& scope, const std::string& zero) {
    for (const char* op : {"QuantizeLinear", "DequantizeLinear"}) {
      Node& changed = node(scope + op);
      if (zero.empty()) {
        changed.mutable_input()->RemoveLast();
      } else {
        changed.set_input(2, zero);
      }
    }
  }

 private:
  onnx::Model& model_;
  ::onnx::GraphProto& graph_;
};

class Variants {
 public:
  using Ranges = std::function<void(RandomBert&)>;
  using Graph = std::function<void(Edit&)>;

  void add(const std::string& name, const RandomBertOptions& options, const Ranges& ranges,
           const Graph& graph, const BertGraphOptions& export_options = {}) {
    RandomBert bert(options);
    if (ranges) ranges(bert);
    onnx::Model model = onnx::build_bert_graph(bert.source(), export_options);
    if (graph) {
      Edit edit(model);
      graph(edit);
    }
    made.push_back({name, std::move(model)});
  }
  void add(const std::string& name, const Ranges& ranges, const Graph& graph) {
    add(name, one_layer(), ranges, graph);
  }
  void edit(const std::string& name, const Graph& graph) { add(name, one_layer(), {}, graph); }
  /// The export without the quantizers at these paths below layer 0.
  void without(const std::string& name, const std::vector<std::string>& quantizers, const Graph& graph = {}) {
    add(
        name, one_layer(),
        [&](RandomBert& bert) {
          for (const std::string& path : quantizers) bert.ranges.at(kLayer + path).enabled = false;
        },
        graph);
  }
  static RandomBertOptions one_layer() {
    RandomBertOptions options = fusing_bert();
    options.layers = 1;
    return options;
  }

  std::vector<LintVariant> made;
};

/// Head sizes, and pairs that are missing around the two products of attention.
void add_attention(Variants& v) {
  v.edit("as-exported", {});
  for (const int64_t size : {8, 24, 48, 96, 128, 256}) {
    RandomBertOptions options = Variants::one_layer();
    options.heads = 2;
    options.hidden = 2 * size;
    v.add("heads-of-" + std::to_string(size), options, {}, {});
  }
  v.without("no-q-before-query", {"attention.self.matmul_q_input_quantizer"});
  v.without("no-q-before-key", {"attention.self.matmul_k_input_quantizer"});
  v.without("no-q-before-both-of-scores",
            {"attention.self.matmul_q_input_quantizer", "attention.self.matmul_k_input_quantizer"});
  v.without("no-q-behind-softmax", {"attention.self.matmul_a_input_quantizer"});
  v.without("no-q-before-value", {"attention.self.matmul_v_input_quantizer"});
  v.without("no-q-around-context",
            {"attention.self.matmul_a_input_quantizer", "attention.self.matmul_v_input_quantizer"});
  v.without("no-q-behind-context",
            {"attention.output.dense._input_quantizer", "attention.output.dense._weight_quantizer"});
  v.without("no-q-in-attention",
            {"attention.self.matmul_q_input_quantizer", "attention.self.matmul_k_input_quantizer",
             "attention.self.matmul_a_input_quantizer", "attention.self.matmul_v_input_quantizer"});
  v.edit("factor-on-key", [](Edit& e) {
    e.remove(kSelfPath + "Div");
    e.between(kSelfPath + "matmul_k_input_quantizer/QuantizeLinear", 0, "Mul", kSelfPath + "factor",
              {e.constant<float>("factor", ::onnx::TensorProto::FLOAT, {}, {0.25f})});
  });
  v.add("factor-on-query", Variants::one_layer(), {}, {}, {13, false, true});
  v.edit("factor-between-dq-and-product", [](Edit& e) {
    e.remove(kSelfPath + "Div");
    e.between(kSelfPath + "MatMul", 0, "Mul", kSelfPath + "factor",
              {e.constant<float>("factor", ::onnx::TensorProto::FLOAT, {}, {0.25f})});
  });
  v.edit("no-factor", [](Edit& e) { e.remove(kSelfPath + "Div"); });
  v.edit("key-transposed-behind-dq", [](Edit& e) {
    const std::string transposed = e.node(kSelfPath + "matmul_k_input_quantizer/QuantizeLinear").input(0);
    e.between(kSelfPath + "MatMul", 1, "Transpose", kSelfPath + "again");
    e.set_perm(kSelfPath + "again", {0, 1, 3, 2});
    e.between(kSelfPath + "matmul_k_input_quantizer/QuantizeLinear", 0, "Transpose", kSelfPath + "back");
    e.set_perm(kSelfPath + "back", {0, 1, 3, 2});
  });
  v.edit("context-read-by-two", [](Edit& e) {
    const std::string context = e.output(kSelfPath + "MatMul_1");
    e.add_output(e.insert(kSelfPath + "MatMul_1", "Identity", "copy", {context}), ::onnx::TensorProto::FLOAT);
  });
}

/// Scales, axes and zero points.
void add_parameters(Variants& v) {
  const std::string weight = kDensePath + "_weight_quantizer/", input = kDensePath + "_input_quantizer/";
  const auto axis = [weight](int64_t value) {
    return [weight, value](Edit& e) {
      e.set_attribute(weight + "QuantizeLinear", "axis", value);
      e.set_attribute(weight + "DequantizeLinear", "axis", value);
    };
  };
  v.edit("axis-0-of-square-weight", axis(0));
  v.edit("axis-minus-1", axis(-1));
  v.edit("axis-minus-2", axis(-2));
  v.edit("no-zero-point", [&](Edit& e) { e.set_zero(input, ""); });
  v.edit("no-zero-point-of-weight", [&](Edit& e) { e.set_zero(weight, ""); });
  v.edit("uint8-zero-point-0", [&](Edit& e) {
    e.set_zero(input, e.constant<uint8_t>("zero", ::onnx::TensorProto::UINT8, {}, {0}));
  });
  v.edit("uint8-zero-point-128", [&](Edit& e) {
    e.set_zero(input, e.constant<uint8_t>("zero", ::onnx::TensorProto::UINT8, {}, {128}));
  });
  v.edit("zero-point-3",
         [&](Edit& e) { e.set_zero(input, e.constant<int8_t>("zero", ::onnx::TensorProto::INT8, {}, {3})); });
  v.edit("scale-computed-from-constants", [&](Edit& e) {
    const std::string half = e.constant<float>("half", ::onnx::TensorProto::FLOAT, {}, {0.5f});
    const std::string scale =
        e.insert(input + "QuantizeLinear", "Mul", "scale", {e.node(input + "QuantizeLinear").input(1), half});
    e.node(input + "QuantizeLinear").set_input(1, scale);
    e.node(input + "DequantizeLinear").set_input(1, scale);
  });
  v.edit("scale-computed-from-input", [&](Edit& e) {
    const std::string quantizer = input + "QuantizeLinear";
    const std::string largest = e.insert(quantizer, "ReduceMax", "scale", {e.node(quantizer).input(0)});
    e.set_attribute("scale", "keepdims", 0);
    e.node(quantizer).set_input(1, largest);
    e.node(input + "DequantizeLinear").set_input(1, largest);
  });
  v.edit("dq-has-another-scale", [&](Edit& e) {
    e.node(input + "DequantizeLinear").set_input(1, kLayer + "output.add_local_input_quantizer.scale");
  });
  v.edit("codes-read-by-cast", [&](Edit& e) {
    const std::string cast = e.insert(input + "DequantizeLinear", "Cast", "codes_as_floats",
                                      {e.node(input + "DequantizeLinear").input(0)});
    e.set_attribute("codes_as_floats", "to", ::onnx::TensorProto::FLOAT);
    e.add_output(cast, ::onnx::TensorProto::FLOAT);
  });
  v.edit("activation-with-several-scales", [&](Edit& e) {
    const std::string scales =
        e.constant<float>("scales", ::onnx::TensorProto::FLOAT, {64}, std::vector<float>(64, 0.03f));
    const std::string zeros =
        e.constant<int8_t>("zeros", ::onnx::TensorProto::INT8, {64}, std::vector<int8_t>(64, 0));
    for (const char* op : {"QuantizeLinear", "DequantizeLinear"}) {
      e.node(input + op).set_input(1, scales);
      e.node(input + op).set_input(2, zeros);
      e.set_attribute(input + op, "axis", 2);
    }
  });
  v.edit("scalar-int8-constant", [](Edit& e) {
    const std::string scale = e.constant<float>("four.scale", ::onnx::TensorProto::FLOAT, {}, {1.0f});
    const std::string zero = e.constant<int8_t>("four.zero", ::onnx::TensorProto::INT8, {}, {0});
    const std::string four = e.constant<int8_t>("four", ::onnx::TensorProto::INT8, {}, {4});
    e.node(kSelfPath + "Div")
        .set_input(
            1, e.insert(kSelfPath + "Div", "DequantizeLinear", "four/DequantizeLinear", {four, scale, zero}));
  });
  v.edit("int32-bias", [](Edit& e) {
    const std::string scale = e.constant<float>("bias.scale", ::onnx::TensorProto::FLOAT, {}, {0.01f});
    const std::string bias =
        e.constant<int32_t>("bias.codes", ::onnx::TensorProto::INT32, {64}, std::vector<int32_t>(64, 7));
    const std::string add = kDensePath + "Add";
    const int at = e.node(add).input(0) == e.output(kDensePath + "MatMul") ? 1 : 0;
    e.node(add).set_input(at, e.insert(add, "DequantizeLinear", "bias/DequantizeLinear", {bias, scale}));
  });
  v.edit("int8-vector-constant", [](Edit& e) {
    const std::string scale = e.constant<float>("bias.scale", ::onnx::TensorProto::FLOAT, {}, {0.01f});
    const std::string zero = e.constant<int8_t>("bias.zero", ::onnx::TensorProto::INT8, {}, {0});
    const std::string bias =
        e.constant<int8_t>("bias.codes", ::onnx::TensorProto::INT8, {64}, std::vector<int8_t>(64, 7));
    const std::string add = kDensePath + "Add";
    const int at = e.node(add).input(0) == e.output(kDensePath + "MatMul") ? 1 : 0;
    e.node(add).set_input(at,
                          e.insert(add, "DequantizeLinear", "bias/DequantizeLinear", {bias, scale, zero}));
  });
  v.edit("two-dq-of-one-name", [&](Edit& e) {
    e.node(kLayerPath + "intermediate/dense/_input_quantizer/DequantizeLinear")
        .set_name(input + "DequantizeLinear");
  });
  v.edit("two-others-of-one-name", [](Edit& e) {
    e.node(kLayerPath + "output/LayerNorm/Sub").set_name(kLayerPath + "attention/output/LayerNorm/Sub");
  });
  v.edit("axis-0-of-oblong-weight", [](Edit& e) {
    const std::string scope = kLayerPath + "intermediate/dense/_weight_quantizer/";
    const std::string scales =
        e.constant<float>("scales", ::onnx::TensorProto::FLOAT, {64}, std::vector<float>(64, 0.03f));
    const std::string zeros =
        e.constant<int8_t>("zeros", ::onnx::TensorProto::INT8, {64}, std::vector<int8_t>(64, 0));
    for (const char* op : {"QuantizeLinear", "DequantizeLinear"}) {
      e.node(scope + op).set_input(1, scales);
      e.node(scope + op).set_input(2, zeros);
      e.set_attribute(scope + op, "axis", 0);
    }
  });
  v.edit("two-q-of-one-name", [&](Edit& e) {
    e.node(kLayerPath + "intermediate/dense/_input_quantizer/QuantizeLinear")
        .set_name(input + "QuantizeLinear");
  });
}

/// What stands before and behind pairs.
void add_places(Variants& v) {
  v.without("weight-alone", {"attention.output.dense._input_quantizer"});
  v.without("activation-alone", {"attention.output.dense._weight_quantizer"});
  v.edit("pair-before-softmax", [](Edit& e) { e.quantize(kSelfPath + "Softmax", 0, "/extra"); });
  v.edit("pair-before-erf",
         [](Edit& e) { e.quantize(kLayerPath + "intermediate/intermediate_act_fn/Erf", 0, "/extra"); });
  v.edit("pair-before-layer-norm",
         [](Edit& e) { e.quantize(kLayerPath + "output/LayerNorm/Sub", 0, "/extra"); });
  v.edit("dq-without-reader", [](Edit& e) {
    const std::string input = kDensePath + "_input_quantizer/";
    const std::string codes = e.node(input + "DequantizeLinear").input(0);
    e.insert(
        input + "DequantizeLinear", "DequantizeLinear", "/extra/DequantizeLinear",
        {codes, e.node(input + "DequantizeLinear").input(1), e.node(input + "DequantizeLinear").input(2)});
  });
  v.edit("dequantized-output", [](Edit& e) {
    e.add_output(e.output(kDensePath + "_input_quantizer/DequantizeLinear"), ::onnx::TensorProto::FLOAT);
  });
  v.without("no-q-on-skip", {"attention.output.add_residual_input_quantizer"});
  v.without("no-q-on-local", {"attention.output.add_local_input_quantizer"});
  v.without("no-q-on-residual-sum",
            {"attention.output.add_residual_input_quantizer", "attention.output.add_local_input_quantizer"});
  v.edit("pair-behind-residual-sum", [](Edit& e) {
    const std::string sum = e.output(kLayerPath + "attention/output/Add");
    e.between(kLayerPath + "attention/output/LayerNorm/ReduceMean", 0, "Identity", "/sum");
    e.node(kLayerPath + "attention/output/LayerNorm/Sub").set_input(0, "/sum_output_0");
    e.quantize("/sum", 0, "/extra");
  });
  v.edit("transposed-weight-behind-dq", [](Edit& e) {
    // The original's layout: [out, in], quantized along axis 0, transposed behind the pair.
    const std::string weight = kDensePath + "_weight_quantizer/";
    e.set_attribute(weight + "QuantizeLinear", "axis", 0);
    e.set_attribute(weight + "DequantizeLinear", "axis", 0);
    e.between(kDensePath + "MatMul", 1, "Transpose", kDensePath + "Transpose");
    e.set_perm(kDensePath + "Transpose", {1, 0});
  });
  for (const bool transposed : {false, true})
    v.edit(transposed ? "gemm-transposed" : "gemm", [transposed](Edit& e) {
      const std::string matmul = kDensePath + "MatMul", add = kDensePath + "Add",
                        weight = kDensePath + "_weight_quantizer/";
      const int bias = e.node(add).input(0) == e.output(matmul) ? 1 : 0;
      const std::string rows = e.constant<int64_t>("rows", ::onnx::TensorProto::INT64, {2}, {-1, 64});
      const std::string back = e.insert(matmul, "Shape", kDensePath + "shape",
                                        {e.node(kDensePath + "_input_quantizer/QuantizeLinear").input(0)});
      e.between(matmul, 0, "Reshape", kDensePath + "rows", {rows});
      Node& gemm = e.node(matmul);
      gemm.set_op_type("Gemm");
      gemm.add_input(e.node(add).input(bias));
      if (transposed) {
        e.set_attribute(matmul, "transB", 1);
        e.set_attribute(weight + "QuantizeLinear", "axis", 0);
        e.set_attribute(weight + "DequantizeLinear", "axis", 0);
      }
      Node& reshape = e.node(add);
      reshape.set_op_type("Reshape");
      reshape.set_input(0, e.output(matmul));
      reshape.set_input(1, back);
    });
}

}  // namespace

std::vector<LintVariant> lint_variants() {
  Variants variants;
  add_attention(variants);
  add_parameters(variants);
  add_places(variants);
  return std::move(variants.made);
}

}  // namespace qdqbert::testing
