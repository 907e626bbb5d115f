#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/reference/liveness.h"
#include "qdqbert/engine/reference/operators.h"

#include "tests/engine/flush_to_zero.h"

namespace qdqbert::engine::reference {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class T>
Tensor tensor(DType dtype, Shape shape, const std::vector<T>& values) {
  WritableTensor out = allocate_tensor(dtype, std::move(shape));
  EXPECT_EQ(out.tensor.count(), static_cast<int64_t>(values.size()));
  std::copy(values.begin(), values.end(), out.as<T>());
  return out.tensor;
}
Tensor f32(Shape shape, const std::vector<float>& values) {
  return tensor(DType::kF32, std::move(shape), values);
}
Tensor i64(Shape shape, const std::vector<int64_t>& values) {
  return tensor(DType::kI64, std::move(shape), values);
}
Tensor f16(Shape shape, const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float v : values) bits.push_back(float_to_half(v));
  return tensor(DType::kF16, std::move(shape), bits);
}
Tensor random_f32(Shape shape, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (float& v : values) v = normal(random);
  return f32(std::move(shape), values);
}

using Attributes = std::map<std::string, Attribute>;

std::vector<Tensor> evaluate_all(const std::string& op, const std::vector<Tensor>& inputs,
                                 Attributes attributes = {}, int64_t opset = 13, size_t outputs = 1,
                                 const Environment& environment = {}) {
  Node node{"n", op, opset, {}, {}, std::move(attributes)};
  std::vector<const Tensor*> pointers;
  for (const Tensor& input : inputs) {
    pointers.push_back(&input);
    node.inputs.push_back(static_cast<ValueId>(node.inputs.size()));
  }
  for (size_t i = 0; i < outputs; ++i) node.outputs.push_back(static_cast<ValueId>(100 + i));
  return evaluate(node, pointers, environment);
}
Tensor one(const std::string& op, const std::vector<Tensor>& inputs, Attributes attributes = {},
           int64_t opset = 13) {
  return evaluate_all(op, inputs, std::move(attributes), opset)[0];
}

template <class T>
std::vector<T> values(const Tensor& x) {
  const auto span = x.as<T>();
  return {span.begin(), span.end()};
}

std::string refusal(const std::string& op, const std::vector<Tensor>& inputs, Attributes attributes = {}) {
  try {
    evaluate_all(op, inputs, std::move(attributes));
  } catch (const InputError& error) {
    return error.what();
  }
  return "computed";
}

TEST(Reference, BroadcastsAsNumpyDoes) {
  const Tensor out = one("Sub", {f32({2, 1, 2}, {1, 2, 3, 4}), f32({3, 1}, {10, 20, 30})});
  EXPECT_EQ(out.shape, (Shape{2, 3, 2}));
  EXPECT_THAT(values<float>(out), ElementsAre(-9, -8, -19, -18, -29, -28, -7, -6, -17, -16, -27, -26));
  EXPECT_THAT(refusal("Add", {f32({2}, {1, 2}), f32({3}, {1, 2, 3})}),
              HasSubstr("n (Add): the shapes [2] and [3] do not fit"));
  EXPECT_THAT(refusal("Add", {f32({1}, {1}), i64({1}, {1})}), HasSubstr("F32 and I64"));
}

TEST(Reference, IntegersWrapAndNeverTrap) {
  const int64_t lowest = std::numeric_limits<int64_t>::min();
  EXPECT_THAT(values<int64_t>(one("Div", {i64({2}, {lowest, -7}), i64({2}, {-1, 2})})),
              ElementsAre(lowest, -3));
  EXPECT_THAT(values<int64_t>(one("Neg", {i64({1}, {lowest})})), ElementsAre(lowest));
  EXPECT_THAT(refusal("Div", {i64({1}, {1}), i64({1}, {0})}), HasSubstr("divided by zero"));
}

TEST(Reference, HalvesAreComputedInFloatAndRoundedOnce) {
  // 2049 is no half: the sum of three halves in float is 2050, in halves 2048.
  const Tensor out = one("ReduceSum", {f16({3}, {2048, 1, 1})}, {{"keepdims", int64_t{0}}}, 11);
  EXPECT_EQ(out.dtype, DType::kF16);
  EXPECT_EQ(half_to_float(out.as<uint16_t>()[0]), 2050);
}

TEST(Reference, QuantizationDividesRoundsToEvenAndSaturates) {
  const Tensor scale = f32({}, {0.5f}), zero = tensor<uint8_t>(DType::kU8, {}, {3});
  const float nan = std::nanf("");
  const Tensor out =
      one("QuantizeLinear", {f32({7}, {0.25f, 0.75f, -0.25f, -1.75f, 1e30f, -1e30f, nan}), scale, zero});
  EXPECT_THAT(values<uint8_t>(out), ElementsAre(3, 5, 3, 0, 255, 0, 0));
  EXPECT_THAT(values<float>(one("DequantizeLinear", {out, scale, zero})),
              ElementsAre(0, 1, 0, -1.5f, 126, -1.5f, -1.5f));
  for (const float bad : {0.0f, -1.0f, nan, std::numeric_limits<float>::infinity()})
    EXPECT_THAT(refusal("QuantizeLinear", {f32({1}, {1}), f32({}, {bad}), zero}),
                HasSubstr("not finite and positive"));
  EXPECT_THAT(refusal("QuantizeLinear", {f32({2, 2}, {1, 2, 3, 4}), f32({3}, {1, 1, 1})}), HasSubstr("axis"));
}

TEST(Reference, IntegerProductsAreExact) {
  const Tensor a = tensor<uint8_t>(DType::kU8, {1, 3}, {255, 255, 0});
  const Tensor b = tensor<int8_t>(DType::kI8, {3, 2}, {-128, 127, -128, 127, 1, 1});
  EXPECT_THAT(values<int32_t>(one("MatMulInteger", {a, b})), ElementsAre(-65280, 64770));
  EXPECT_THAT(values<int32_t>(one("MatMulInteger", {a, b, tensor<uint8_t>(DType::kU8, {}, {255})})),
              ElementsAre(-255, -255));
}

TEST(Reference, ProductsSumKAscendingWhateverTheTilesAndThreads) {
  WorkerPool pool(3);
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{5, 19, 33}, {1, 8, 700}, {67, 130, 64}, {4, 1, 3}}) {
    const Tensor a = random_f32({2, m, k}, 1), b = random_f32({k, n}, 2);
    const Tensor alone = one("MatMul", {a, b});
    const Tensor together = evaluate_all("MatMul", {a, b}, {}, 13, 1, {.pool = &pool})[0];
    ASSERT_EQ(alone.shape, (Shape{2, m, n}));
    for (int64_t row = 0; row < 2 * m; ++row)
      for (int64_t j = 0; j < n; ++j) {
        float sum = 0;
        for (int64_t l = 0; l < k; ++l) {
          const float product =
              a.as<float>()[static_cast<size_t>(row * k + l)] * b.as<float>()[static_cast<size_t>(l * n + j)];
          sum += product;
        }
        ASSERT_EQ(alone.as<float>()[static_cast<size_t>(row * n + j)], sum);
        ASSERT_EQ(together.as<float>()[static_cast<size_t>(row * n + j)], sum);
      }
  }
}

TEST(Reference, ThreadsChangeNothing) {
  WorkerPool pool(3);
  const Tensor x = random_f32({6, 40, 200}, 3), row = random_f32({200}, 4);
  const auto check = [&](const std::string& op, const std::vector<Tensor>& inputs,
                         Attributes attributes = {}) {
    const Tensor a = one(op, inputs, attributes, 17);
    const Tensor b = evaluate_all(op, inputs, attributes, 17, 1, {.pool = &pool})[0];
    ASSERT_EQ(a.bytes.size(), b.bytes.size());
    EXPECT_EQ(std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()), 0) << op;
  };
  check("Add", {x, row});
  check("Erf", {x});
  check("Softmax", {x});
  check("Transpose", {x}, {{"perm", std::vector<int64_t>{2, 0, 1}}});
  check("LayerNormalization", {x, row, row});
  check("ReduceMean", {x}, {{"axes", std::vector<int64_t>{1}}});
  check("QuantizeLinear", {x, f32({}, {0.01f})});
}

TEST(Reference, ShapesAreViews) {
  const Tensor x = random_f32({2, 3, 4}, 5);
  EXPECT_EQ(one("Reshape", {x, i64({2}, {0, -1})}).bytes.data(), x.bytes.data());
  EXPECT_EQ(one("Unsqueeze", {x, i64({1}, {-1})}).bytes.data(), x.bytes.data());
  const Tensor rows = one("Slice", {x, i64({1}, {1}), i64({1}, {2})});
  EXPECT_EQ(rows.shape, (Shape{1, 3, 4}));
  EXPECT_EQ(rows.bytes.data(), x.bytes.data() + 12 * sizeof(float));
  EXPECT_THAT(refusal("Reshape", {x, i64({2}, {5, -1})}),
              HasSubstr("[2, 3, 4] does not fit the new shape [5, -1]"));
}

TEST(Reference, SlicesStepBackwards) {
  const Tensor x = i64({5}, {0, 1, 2, 3, 4});
  const auto slice = [&](int64_t start, int64_t end, int64_t step) {
    return values<int64_t>(
        one("Slice", {x, i64({1}, {start}), i64({1}, {end}), i64({1}, {0}), i64({1}, {step})}));
  };
  EXPECT_THAT(slice(-1, std::numeric_limits<int64_t>::min(), -2), ElementsAre(4, 2, 0));
  EXPECT_THAT(slice(3, 0, -1), ElementsAre(3, 2, 1));
  EXPECT_THAT(slice(1, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::max()),
              ElementsAre(1));
  EXPECT_THAT(slice(4, 2, 1), ElementsAre());
}

TEST(Reference, HostileSizesAreRefusedBeforeMemoryIsAskedFor) {
  const int64_t huge = int64_t{1} << 40;
  const auto too_large = [](const std::string& op, const std::vector<Tensor>& inputs) {
    EXPECT_THROW(evaluate_all(op, inputs), TooLarge) << op;
  };
  too_large("ConstantOfShape", {i64({2}, {huge, huge})});
  too_large("ConstantOfShape", {i64({1}, {huge})});
  too_large("Expand", {f32({1}, {1}), i64({1}, {huge})});
  too_large("Tile", {f32({2}, {1, 2}), i64({1}, {huge})});
  too_large("Range", {i64({}, {0}), i64({}, {huge}), i64({}, {1})});
  EXPECT_THAT(refusal("Tile", {f32({2}, {1, 2}), i64({1}, {std::numeric_limits<int64_t>::max()})}),
              HasSubstr("not acceptable"));
  EXPECT_THAT(refusal("Range", {i64({}, {0}), i64({}, {1}), i64({}, {0})}), HasSubstr("the step is 0"));
  EXPECT_THAT(refusal("Gather", {f32({2}, {1, 2}), i64({1}, {2})}), HasSubstr("index 2 does not fit"));
  EXPECT_THAT(refusal("Gather", {f32({2}, {1, 2}), i64({1}, {-3})}), HasSubstr("index -3 does not fit"));
  EXPECT_THAT(refusal("Softmax", {f32({2}, {1, 2})}, {{"axis", int64_t{7}}}),
              HasSubstr("axis 7 does not fit"));
  EXPECT_THAT(refusal("Concat", {f32({2}, {1, 2})}, {{"axis", std::string("0")}}),
              HasSubstr("attribute axis"));
}

TEST(Reference, SaysWhatItLacks) {
  Node node{"n", "Conv", 13, {0}, {1}, {}};
  EXPECT_EQ(unsupported(node), "operator Conv is not known");
  node.op = "Softmax";
  EXPECT_EQ(unsupported(node), "");
  node.opset = 9;
  EXPECT_THAT(unsupported(node), HasSubstr("operator set 9"));
  node = {"n", "QuantizeLinear", 21, {0, 1}, {2}, {{"block_size", int64_t{32}}}};
  EXPECT_THAT(unsupported(node), HasSubstr("blocks of 32"));
  node = {"n", "Cast", 13, {0}, {1}, {{"to", int64_t{8}}}};
  EXPECT_THAT(unsupported(node), HasSubstr("element type 8"));
  EXPECT_THROW(evaluate_all("Conv", {f32({1}, {1})}), InputError);
}

TEST(Reference, TheCallersFloatControlWordDoesNotMatter) {
  volatile float small = 1e-30f, smaller = 1e-12f, before, after;
  Tensor out;
  {
    const qdqbert::testing::FlushToZero flush;
    before = small * smaller;
    out = one("Mul", {f32({1}, {small}), f32({1}, {smaller})});
    after = small * smaller;
  }
  EXPECT_EQ(before, 0);
  EXPECT_GT(out.as<float>()[0], 0);
  EXPECT_EQ(after, 0) << "the caller's word is not given back";
}

/// y = Reshape(x + x, [-1]); z = (x + x) * c
Graph small_graph() {
  Graph graph;
  graph.name = "small";
  const ValueId x = graph.add_value("x"), sum = graph.add_value("sum"), y = graph.add_value("y"),
                z = graph.add_value("z");
  graph.values[x].dtype = DType::kF32;
  graph.values[x].shape = Shape{-1, 2};
  const ValueId flat = graph.add_constant("flat", i64({1}, {-1}));
  const ValueId c = graph.add_constant("c", f32({}, {10}));
  graph.inputs = {x};
  graph.nodes = {{"sum", "Add", 13, {x, x}, {sum}, {}},
                 {"y", "Reshape", 13, {sum, flat}, {y}, {}},
                 {"z", "Mul", 13, {sum, c}, {z}, {}}};
  graph.outputs = {y, z};
  return graph;
}

TEST(ReferenceRun, RunsAGraphAndKeepsOnlyItsOutputs) {
  std::vector<Tensor> outputs;
  std::weak_ptr<const void> input;
  {
    const Tensor x = f32({1, 2}, {1, 2});
    input = x.owner;
    outputs = run(small_graph(), std::vector<Tensor>{x});
  }
  EXPECT_TRUE(input.expired());
  EXPECT_THAT(values<float>(outputs[0]), ElementsAre(2, 4));
  EXPECT_EQ(outputs[0].shape, Shape{2});
  EXPECT_THAT(values<float>(outputs[1]), ElementsAre(20, 40));
  EXPECT_EQ(outputs[0].owner.use_count(), 1);  // the sum lives on as y only
}

TEST(ReferenceRun, FreesAValueAfterItsLastReader) {
  Graph graph = small_graph();
  // x is read by the first node only; sum by the second and third; y is an output and is read on top.
  EXPECT_THAT(freed_after(graph), ElementsAre(ElementsAre(0), ElementsAre(), ElementsAre(1)));
  const ValueId unread = graph.add_value("unread");
  graph.nodes.push_back({"last", "Neg", 13, {graph.outputs[0]}, {unread}, {}});
  EXPECT_THAT(freed_after(graph),
              ElementsAre(ElementsAre(0), ElementsAre(), ElementsAre(1), ElementsAre(unread)));
}

TEST(ReferenceRun, RefusesInputsThatAreNotTheGraphs) {
  const Graph graph = small_graph();
  EXPECT_THROW(run(graph, {}), InputError);
  EXPECT_THROW(run(graph, std::vector<Tensor>{f32({1, 3}, {1, 2, 3})}), InputError);
  EXPECT_THROW(run(graph, std::vector<Tensor>{i64({1, 2}, {1, 2})}), InputError);
  Tensor shortened = f32({1, 2}, {1, 2});
  shortened.bytes = shortened.bytes.first(4);
  EXPECT_THROW(run(graph, std::vector<Tensor>{shortened}), InputError);
}

}  // namespace
}  // namespace qdqbert::engine::reference
