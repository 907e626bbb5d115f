// Each pass by the graph before it and after it.
#include "qdqbert/engine/passes/passes.h"

#include <limits>

#include <gtest/gtest.h>

namespace qdqbert::engine {
namespace {

/// Graphs by hand: values by name, nodes in order.
class Maker {
 public:
  Maker() { graph.name = "test"; }
  ValueId value(const std::string& name) {
    for (ValueId id = 0; id < graph.values.size(); ++id)
      if (graph.values[id].name == name) return id;
    return graph.add_value(name);
  }
  void input(const std::string& name, DType dtype = DType::kF32, Shape shape = {-1, -1}) {
    const ValueId id = value(name);
    graph.values[id].dtype = dtype;
    graph.values[id].shape = std::move(shape);
    graph.inputs.push_back(id);
  }
  void floats(const std::string& name, Shape shape, std::vector<float> values = {}) {
    values.resize(static_cast<size_t>(element_count(shape)), values.empty() ? 0.5f : values.back());
    graph.values[value(name)].constant =
        tensor_of(make_tensor(std::move(shape), std::span<const float>(values)));
  }
  void number(const std::string& name, float x) { floats(name, {}, {x}); }
  void integers(const std::string& name, const std::vector<int64_t>& values) {
    graph.values[value(name)].constant =
        tensor_of(make_tensor({static_cast<int64_t>(values.size())}, std::span<const int64_t>(values)));
  }
  void codes(const std::string& name, Shape shape) {
    WritableTensor tensor = allocate_tensor(DType::kI8, std::move(shape));
    for (int64_t i = 0; i < tensor.tensor.count(); ++i) tensor.as<int8_t>()[i] = 0;
    graph.values[value(name)].constant = tensor.tensor;
  }
  void node(const std::string& op, const std::vector<std::string>& in, const std::string& out,
            std::map<std::string, Attribute> attributes = {}) {
    Node made{out, op, 13, {}, {value(out)}, std::move(attributes)};
    for (const std::string& name : in) made.inputs.push_back(value(name));
    graph.nodes.push_back(std::move(made));
  }
  void output(const std::string& name) { graph.outputs.push_back(value(name)); }
  Graph graph;
};

TEST(Passes, IdentitiesGoButNotTheNamesOfOutputs) {
  Maker m;
  m.input("x");
  m.node("Identity", {"x"}, "a");
  m.node("Dropout", {"a"}, "b");
  m.node("Relu", {"b"}, "c");
  m.node("Identity", {"c"}, "y");
  m.output("y");
  remove_identities(m.graph);
  EXPECT_EQ(to_text(m.graph), "inputs x\nc = Relu(x)\ny = Identity(c)\noutputs y\n");
}

TEST(Passes, EqualNodesAreMerged) {
  Maker m;
  m.input("x");
  m.number("s", 2.0f);
  m.number("t", 2.0f);
  m.number("u", 3.0f);
  m.node("Mul", {"x", "s"}, "a");
  m.node("Mul", {"x", "t"}, "b");
  m.node("Mul", {"x", "u"}, "c");
  m.node("Add", {"a", "b"}, "d");
  m.node("Add", {"d", "c"}, "y");
  m.output("y");
  merge_equal_nodes(m.graph);
  EXPECT_EQ(
      to_text(m.graph),
      "inputs x\na = Mul(x, s<F32[]>)\nc = Mul(x, u<F32[]>)\nd = Add(a, a)\ny = Add(d, c)\noutputs y\n");
}

TEST(Passes, GemmIsMatMulAndAdd) {
  Maker m;
  m.input("x");
  m.floats("w", {2, 4});
  m.floats("b", {2});
  m.node("Gemm", {"x", "w", "b"}, "y", {{"transB", int64_t{1}}});
  m.node("Gemm", {"x", "w", "b"}, "z", {{"transB", int64_t{1}}, {"alpha", 0.5f}});
  m.output("y");
  m.output("z");
  split_gemms(m.graph);
  EXPECT_EQ(to_text(m.graph),
            "inputs x\n"
            "w/transposed = Transpose(w<F32[2, 4]>) {perm=[1, 0]}\n"
            "y/product = MatMul(x, w/transposed)\n"
            "y = Add(y/product, b<F32[2]>)\n"
            "z = Gemm(x, w<F32[2, 4]>, b<F32[2]>) {alpha=0.5 transB=1}\n"
            "outputs y, z\n");
}

void add_pair(Maker& m, const std::string& in, const std::string& out, float scale, float back) {
  m.number(out + ".s", scale);
  m.number(out + ".t", back);
  m.codes(out + ".z", {});
  m.node("QuantizeLinear", {in, out + ".s", out + ".z"}, out + ".q");
  m.node("DequantizeLinear", {out + ".q", out + ".t", out + ".z"}, out);
}

TEST(Passes, PairsOfOneScaleAreFakeQuantization) {
  Maker m;
  m.input("x");
  add_pair(m, "x", "a", 0.25f, 0.25f);
  add_pair(m, "x", "b", 0.25f, 0.5f);
  m.node("Add", {"a", "b"}, "y");
  m.output("y");
  fuse_fake_quantize(m.graph);
  EXPECT_EQ(to_text(m.graph),
            "inputs x\n"
            "a = qdqbert.FakeQuantize(x) {scale=0.25}\n"
            "b.q = QuantizeLinear(x, b.s<F32[]>, b.z<I8[]>)\n"
            "b = DequantizeLinear(b.q, b.t<F32[]>, b.z<I8[]>)\n"
            "y = Add(a, b)\n"
            "outputs y\n");
}

TEST(Passes, ZeroPointsThatAreLeftOutAreZero) {
  for (const bool quantize : {false, true}) {
    Maker m;
    m.input("x");
    add_pair(m, "x", "a", 0.25f, 0.25f);
    m.node("Relu", {"a"}, "y");
    m.output("y");
    // Without one QuantizeLinear makes unsigned codes.
    m.graph.nodes[quantize ? 0 : 1].inputs.pop_back();
    fuse_fake_quantize(m.graph);
    EXPECT_EQ(m.graph.nodes[0].op, quantize ? "QuantizeLinear" : "qdqbert.FakeQuantize");
  }
}

/// `squares_of` other than the numerator's input is no LayerNorm.
Graph decomposed_norm(const std::string& squares_of) {
  Maker m;
  m.input("x");
  m.input("other");
  m.floats("gamma", {4});
  m.floats("beta", {4});
  m.number("two", 2);
  m.number("eps", 0.125f);
  const std::map<std::string, Attribute> last = {{"axes", std::vector<int64_t>{-1}}};
  m.node("ReduceMean", {"x"}, "mean", last);
  m.node("Sub", {"x", "mean"}, "centred");
  m.node("Sub", {squares_of, "mean"}, "again");
  m.node("Pow", {"again", "two"}, "square");
  m.node("ReduceMean", {"square"}, "variance", last);
  m.node("Add", {"variance", "eps"}, "guarded");
  m.node("Sqrt", {"guarded"}, "deviation");
  m.node("Div", {"centred", "deviation"}, "normal");
  m.node("Mul", {"gamma", "normal"}, "scaled");
  m.node("Add", {"scaled", "beta"}, "y");
  m.output("y");
  fuse_layer_norm(m.graph);
  return std::move(m.graph);
}

TEST(Passes, DecomposedLayerNorm) {
  EXPECT_EQ(to_text(decomposed_norm("x")),
            "inputs x, other\n"
            "y = LayerNormalization(x, gamma<F32[4]>, beta<F32[4]>) {axis=-1 epsilon=0.125}\n"
            "outputs y\n");
  EXPECT_EQ(decomposed_norm("other").nodes.size(), 10u);
}

/// 0.5 x (1 + erf(x / divisor)), clipped to [-10, 10].
Graph gelu(float divisor) {
  Maker m;
  m.input("x");
  m.number("divisor", divisor);
  m.number("one", 1);
  m.number("half", 0.5f);
  m.number("low", -10);
  m.number("high", 10);
  m.node("Div", {"x", "divisor"}, "a");
  m.node("Erf", {"a"}, "b");
  m.node("Add", {"b", "one"}, "c");
  m.node("Mul", {"x", "c"}, "d");
  m.node("Mul", {"d", "half"}, "e");
  m.node("Clip", {"e", "low", "high"}, "y");
  m.output("y");
  fuse_activations(m.graph);
  return std::move(m.graph);
}

TEST(Passes, Activations) {
  EXPECT_EQ(to_text(gelu(1.41421356f)),
            "inputs x\ny = qdqbert.Activation(x) {clip=10 kind=\"gelu\"}\noutputs y\n");
  EXPECT_EQ(gelu(1.5f).nodes.size(), 6u);

  Maker silu;
  silu.input("x");
  silu.node("Sigmoid", {"x"}, "s");
  silu.node("Mul", {"x", "s"}, "y");
  silu.output("y");
  fuse_activations(silu.graph);
  EXPECT_EQ(to_text(silu.graph), "inputs x\ny = qdqbert.Activation(x) {clip=inf kind=\"silu\"}\noutputs y\n");

  Maker tanh;
  tanh.input("x");
  tanh.number("cubed", 3);
  tanh.number("small", 0.044715f);
  tanh.number("root", 0.7978845608f);
  tanh.number("one", 1);
  tanh.number("half", 0.5f);
  tanh.node("Pow", {"x", "cubed"}, "a");
  tanh.node("Mul", {"a", "small"}, "b");
  tanh.node("Add", {"x", "b"}, "c");
  tanh.node("Mul", {"c", "root"}, "d");
  tanh.node("Tanh", {"d"}, "e");
  tanh.node("Add", {"e", "one"}, "f");
  tanh.node("Mul", {"x", "half"}, "g");
  tanh.node("Mul", {"g", "f"}, "y");
  tanh.output("y");
  fuse_activations(tanh.graph);
  EXPECT_EQ(to_text(tanh.graph),
            "inputs x\ny = qdqbert.Activation(x) {clip=inf kind=\"gelu_tanh\"}\noutputs y\n");
}

TEST(Passes, LinearsWithWeightsInEitherOrder) {
  Maker m;
  m.input("x");
  m.node("qdqbert.FakeQuantize", {"x"}, "fx", {{"scale", 0.25f}});
  m.codes("w", {4, 3});
  m.codes("v", {3, 4});
  m.floats("ws", {3});
  m.floats("b", {3});
  m.floats("f", {3, 2});
  m.node("DequantizeLinear", {"w", "ws"}, "dw", {{"axis", int64_t{1}}});
  m.node("DequantizeLinear", {"v", "ws"}, "dv", {{"axis", int64_t{0}}});
  m.node("Transpose", {"dv"}, "tv", {{"perm", std::vector<int64_t>{1, 0}}});
  m.node("MatMul", {"fx", "dw"}, "p");
  m.node("Add", {"b", "p"}, "q");
  m.node("MatMul", {"fx", "tv"}, "r");
  m.node("Add", {"q", "r"}, "s");
  m.node("MatMul", {"s", "f"}, "y");
  m.output("y");
  fuse_linears(m.graph);
  EXPECT_EQ(to_text(m.graph),
            "inputs x\n"
            "q = qdqbert.QuantizedLinear(x, w<I8[4, 3]>, ws<F32[3]>, b<F32[3]>) {scale=0.25 transposed=0}\n"
            "r = qdqbert.QuantizedLinear(x, v<I8[3, 4]>, ws<F32[3]>, -) {scale=0.25 transposed=1}\n"
            "s = Add(q, r)\n"
            "y = qdqbert.Linear(s, f<F32[3, 2]>, -) {transposed=0}\n"
            "outputs y\n");
}

TEST(Passes, ResidualNormTakesTheLinearFirst) {
  Maker m;
  m.input("x");
  m.floats("w", {4, 4});
  m.floats("gamma", {4});
  m.floats("beta", {4});
  m.node("qdqbert.Linear", {"x", "w"}, "local");
  m.node("qdqbert.FakeQuantize", {"local"}, "fl", {{"scale", 0.5f}});
  m.node("qdqbert.FakeQuantize", {"x"}, "fx", {{"scale", 0.25f}});
  m.node("Add", {"fx", "fl"}, "sum");
  m.node("LayerNormalization", {"sum", "gamma", "beta"}, "y", {{"epsilon", 0.125f}});
  m.output("y");
  fuse_residual_norm(m.graph);
  EXPECT_EQ(
      to_text(m.graph),
      "inputs x\n"
      "local = qdqbert.Linear(x, w<F32[4, 4]>)\n"
      "y = qdqbert.ResidualNorm(local, x, gamma<F32[4]>, beta<F32[4]>) {epsilon=0.125 residual_scale=0.25 x_scale=0.5}\n"
      "outputs y\n");
}

TEST(Passes, PastsThatAreJoinedWithNothingStay) {
  Maker m;
  m.input("past_key_values.0.key");
  m.node("Concat", {"past_key_values.0.key", "x"}, "y");
  m.node("Relu", {"y"}, "z");
  m.graph.nodes[0].inputs[1] = kNoValue;
  m.output("z");
  const std::string before = to_text(m.graph);
  forget_cache(m.graph);
  EXPECT_EQ(to_text(m.graph), before);
}

/// Attention of 2 heads of size 3 with its sizes computed as exporters do;
/// `lowest` is what masked scores get.
Graph attention(float lowest) {
  Maker m;
  m.input("input_ids", DType::kI64);
  m.input("attention_mask", DType::kI64);
  m.floats("table", {10, 6});
  m.node("Gather", {"table", "input_ids"}, "x");
  m.node("Shape", {"x"}, "size");
  m.integers("zero", {0});
  m.integers("one", {1});
  m.node("Gather", {"size", "zero"}, "batch");
  m.node("Gather", {"size", "one"}, "length");
  m.integers("two", {2});
  m.integers("three", {3});
  m.integers("six", {6});
  m.node("Concat", {"batch", "length", "two", "three"}, "split", {{"axis", int64_t{0}}});
  m.node("Concat", {"batch", "length", "six"}, "join", {{"axis", int64_t{0}}});
  for (const std::string name : {"q", "k", "v"}) {
    m.floats(name + ".w", {6, 6});
    m.node("qdqbert.Linear", {"x", name + ".w"}, name);
    m.node("Reshape", {name, "split"}, name + ".4");
    m.node("Transpose", {name + ".4"}, name + ".t",
           {{"perm", name == "k" ? std::vector<int64_t>{0, 2, 3, 1} : std::vector<int64_t>{0, 2, 1, 3}}});
    m.node("qdqbert.FakeQuantize", {name + ".t"}, name + ".f", {{"scale", 0.5f}});
  }
  m.integers("mask_axes", {1, 2});
  m.node("Unsqueeze", {"attention_mask", "mask_axes"}, "wide");
  m.node("Cast", {"wide"}, "kept", {{"to", int64_t{1}}});
  m.number("1.", 1);
  m.number("lowest", lowest);
  m.number("root", 2);
  m.node("Sub", {"1.", "kept"}, "hidden");
  m.node("Mul", {"hidden", "lowest"}, "bias");
  m.node("MatMul", {"q.f", "k.f"}, "scores");
  m.node("Div", {"scores", "root"}, "scaled");
  m.node("Add", {"scaled", "bias"}, "masked");
  m.node("Softmax", {"masked"}, "p", {{"axis", int64_t{-1}}});
  m.node("MatMul", {"p", "v.f"}, "c");
  m.node("Transpose", {"c"}, "ct", {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  m.node("Reshape", {"ct", "join"}, "y");
  m.output("y");
  resolve_reshapes(m.graph);
  fuse_attention(m.graph);
  return std::move(m.graph);
}

TEST(Passes, AttentionWithWhateverMaskTheFileComputes) {
  for (const float lowest : {-10000.0f, std::numeric_limits<float>::lowest()})
    EXPECT_EQ(
        to_text(attention(lowest)),
        "inputs input_ids, attention_mask\n"
        "x = Gather(table<F32[10, 6]>, input_ids)\n"
        "q = qdqbert.Linear(x, q.w<F32[6, 6]>)\n"
        "k = qdqbert.Linear(x, k.w<F32[6, 6]>)\n"
        "v = qdqbert.Linear(x, v.w<F32[6, 6]>)\n"
        "y = qdqbert.Attention(q, k, v) {factor=0.5 heads=2 k_scale=0.5 p_scale=0 q_scale=0.5 v_scale=0.5}\n"
        "outputs y\n");
  // A bias that leaves masked positions some weight is no mask.
  EXPECT_NE(to_text(attention(-5.0f)).find("Softmax"), std::string::npos);
}

/// Words, types and rows of a position table that are chosen by `first`, 0 for the usual ones.
Graph embeddings(int64_t first) {
  Maker m;
  m.input("input_ids", DType::kI64);
  m.input("token_type_ids", DType::kI64);
  m.floats("words", {10, 4});
  m.floats("types", {2, 4});
  m.floats("places", {16, 4});
  m.node("Gather", {"words", "input_ids"}, "a");
  m.node("Gather", {"types", "token_type_ids"}, "b");
  m.node("Add", {"a", "b"}, "c");
  m.node("Shape", {"input_ids"}, "size");
  m.integers("one", {1});
  m.integers("first", {first});
  m.integers("axis", {0});
  m.node("Gather", {"size", "one"}, "length");
  m.node("Add", {"length", "first"}, "end");
  m.node("Slice", {"places", "first", "end", "axis"}, "d");
  m.node("Add", {"c", "d"}, "y");
  m.output("y");
  fuse_embeddings(m.graph);
  return std::move(m.graph);
}

TEST(Passes, Embeddings) {
  EXPECT_EQ(
      to_text(embeddings(0)),
      "inputs input_ids, token_type_ids\n"
      "y = qdqbert.Embeddings(input_ids, token_type_ids, words<F32[10, 4]>, types<F32[2, 4]>, places<F32[16, 4]>)\n"
      "outputs y\n");
  EXPECT_NE(to_text(embeddings(2)).find("Slice"), std::string::npos);
}

}  // namespace
}  // namespace qdqbert::engine
