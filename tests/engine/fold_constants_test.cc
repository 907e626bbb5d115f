#include "qdqbert/engine/passes/fold_constants.h"

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"

namespace qdqbert::engine {
namespace {

template <class T>
Tensor tensor(DType dtype, Shape shape, std::vector<T> values) {
  WritableTensor out = allocate_tensor(dtype, std::move(shape));
  std::copy(values.begin(), values.end(), out.as<T>());
  return out.tensor;
}

ValueId add_node(Graph& graph, std::string op, std::vector<ValueId> inputs, std::string output,
                 std::map<std::string, Attribute> attributes = {}) {
  const ValueId id = graph.add_value(output);
  graph.nodes.push_back({output, std::move(op), 13, std::move(inputs), {id}, std::move(attributes)});
  return id;
}

TEST(FoldConstants, SizesAreComputed) {
  Graph graph;
  const ValueId x = graph.add_value("x");
  graph.inputs = {x};
  const ValueId a = graph.add_constant("a", tensor<int64_t>(DType::kI64, {1}, {2}));
  const ValueId b = graph.add_constant("b", tensor<int64_t>(DType::kI64, {1}, {3}));
  const ValueId c = add_node(graph, "Mul", {a, b}, "c");
  const ValueId sizes = add_node(graph, "Concat", {c, b}, "sizes", {{"axis", int64_t{0}}});
  graph.outputs = {add_node(graph, "Reshape", {x, sizes}, "y")};
  EXPECT_EQ(to_text(graph),
            "inputs x\n"
            "c = Mul(a<I64[1]>, b<I64[1]>)\n"
            "sizes = Concat(c, b<I64[1]>) {axis=0}\n"
            "y = Reshape(x, sizes)\n"
            "outputs y\n");
  fold_constants(graph);
  EXPECT_EQ(to_text(graph),
            "inputs x\n"
            "y = Reshape(x, sizes<I64[2]>)\n"
            "outputs y\n");
  const auto folded = graph.values[graph.nodes[0].inputs[1]].constant->as<int64_t>();
  EXPECT_EQ(std::vector<int64_t>(folded.begin(), folded.end()), (std::vector<int64_t>{6, 3}));
}

TEST(FoldConstants, QuantizedWeightsBecomeCodes) {
  Graph graph;
  const ValueId x = graph.add_value("x");
  graph.inputs = {x};
  const ValueId w = graph.add_constant("w", tensor<float>(DType::kF32, {2, 2}, {0.25f, -0.75f, 1.25f, 100}));
  const ValueId scale = graph.add_constant("scale", tensor<float>(DType::kF32, {}, {0.5f}));
  const ValueId zero = graph.add_constant("zero", tensor<int8_t>(DType::kI8, {}, {0}));
  const ValueId codes = add_node(graph, "QuantizeLinear", {w, scale, zero}, "codes");
  const ValueId back = add_node(graph, "DequantizeLinear", {codes, scale, zero}, "back");
  const ValueId turned = add_node(graph, "Transpose", {back}, "turned");
  graph.outputs = {add_node(graph, "MatMul", {x, turned}, "y")};
  fold_constants(graph);
  EXPECT_EQ(to_text(graph),
            "inputs x\n"
            "back = DequantizeLinear(codes<I8[2, 2]>, scale<F32[]>, zero<I8[]>)\n"
            "turned = Transpose(back)\n"
            "y = MatMul(x, turned)\n"
            "outputs y\n");
  // 0.5 and -1.5 and 2.5 steps: ties go to even.
  const auto folded = graph.values[graph.nodes[0].inputs[0]].constant->as<int8_t>();
  EXPECT_EQ(std::vector<int>(folded.begin(), folded.end()), (std::vector<int>{0, -2, 2, 127}));
}

TEST(FoldConstants, LargeResultsAndUnknownOperatorsStay) {
  Graph graph;
  const ValueId x = graph.add_value("x");
  graph.inputs = {x};
  const ValueId sizes = graph.add_constant("sizes", tensor<int64_t>(DType::kI64, {2}, {1 << 20, 1 << 20}));
  const ValueId zeros = add_node(graph, "ConstantOfShape", {sizes}, "zeros");
  const ValueId odd = add_node(graph, "Unheard", {sizes}, "odd");
  graph.outputs = {add_node(graph, "Add", {x, zeros}, "y"), odd};
  const std::string before = to_text(graph);
  fold_constants(graph);
  EXPECT_EQ(to_text(graph), before);
}

TEST(FoldConstants, AnOutputMayBeConstant) {
  Graph graph;
  const ValueId a = graph.add_constant("a", tensor<float>(DType::kF32, {2}, {1, 2}));
  graph.outputs = {add_node(graph, "Neg", {a}, "y")};
  fold_constants(graph);
  EXPECT_EQ(to_text(graph), "inputs \noutputs y<F32[2]>\n");
  EXPECT_EQ(graph.values[graph.outputs[0]].constant->as<float>()[1], -2);
}

TEST(FoldConstants, WhatDoesNotFitIsRefused) {
  Graph graph;
  const ValueId a = graph.add_constant("a", tensor<float>(DType::kF32, {2}, {1, 2}));
  const ValueId b = graph.add_constant("b", tensor<float>(DType::kF32, {3}, {1, 2, 3}));
  graph.outputs = {add_node(graph, "Add", {a, b}, "y")};
  EXPECT_THROW(fold_constants(graph), InputError);
}

}  // namespace
}  // namespace qdqbert::engine
