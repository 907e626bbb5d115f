#include "qdqbert/engine/check_quantization.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"

namespace qdqbert::engine {
namespace {

template <class T>
Tensor tensor(DType dtype, const Shape& shape, const std::vector<T>& values) {
  WritableTensor made = allocate_tensor(dtype, shape);
  std::copy(values.begin(), values.end(), made.as<T>());
  return made.tensor;
}
Tensor floats(const std::vector<float>& values) {
  return tensor(DType::kF32, {static_cast<int64_t>(values.size())}, values);
}
Tensor scalar(float value) {
  return tensor<float>(DType::kF32, {}, {value});
}
Tensor codes(DType dtype, const Shape& shape) {
  WritableTensor made = allocate_tensor(dtype, shape);
  std::fill(made.data, made.data + made.tensor.bytes.size(), std::byte{0});
  return made.tensor;
}
Tensor zero(DType dtype) {
  return codes(dtype, {});
}

/// One node over constants; a shape without elements stands for a value of unknown shape and type.
class OneNode {
 public:
  explicit OneNode(const std::string& op) {
    graph_.name = "m.onnx";
    node_.name = "n";
    node_.op = op;
  }
  OneNode& constant(Tensor value) {
    node_.inputs.push_back(graph_.add_constant("c" + std::to_string(node_.inputs.size()), std::move(value)));
    return *this;
  }
  OneNode& input(DType dtype, Shape shape) {
    const ValueId id = graph_.add_value("x");
    graph_.values[id].dtype = dtype;
    graph_.values[id].shape = std::move(shape);
    graph_.inputs.push_back(id);
    node_.inputs.push_back(id);
    return *this;
  }
  OneNode& unknown() {
    node_.inputs.push_back(graph_.add_value("u" + std::to_string(node_.inputs.size())));
    return *this;
  }
  OneNode& none() {
    node_.inputs.push_back(kNoValue);
    return *this;
  }
  OneNode& axis(int64_t value) {
    node_.attributes["axis"] = value;
    return *this;
  }
  OneNode& attribute(const std::string& name, int64_t value) {
    node_.attributes[name] = value;
    return *this;
  }
  /// "" when the check finds nothing.
  std::string refusal() {
    node_.outputs = {graph_.add_value("y")};
    graph_.nodes.push_back(node_);
    try {
      check_quantization(graph_);
    } catch (const InputError& error) {
      const std::string text = error.what();
      EXPECT_EQ(text.find("[onnx] m.onnx: node n (" + node_.op + "): "), 0u) << text;
      return text.substr(text.find("): ") + 3);
    }
    return "";
  }

 private:
  Graph graph_;
  Node node_;
};

OneNode quantize(Tensor scale) {
  return OneNode("QuantizeLinear").input(DType::kF32, {-1, 4}).constant(std::move(scale));
}
OneNode dequantize(DType dtype, const Shape& shape, Tensor scale) {
  return OneNode("DequantizeLinear").constant(codes(dtype, shape)).constant(std::move(scale));
}

TEST(CheckQuantization, ScalesAreFiniteAndAboveZero) {
  EXPECT_EQ(quantize(scalar(0.5f)).refusal(), "");
  EXPECT_EQ(quantize(scalar(std::numeric_limits<float>::denorm_min())).refusal(), "");
  EXPECT_EQ(quantize(scalar(0)).refusal(), "scale 0 of c1 is 0; scales are finite and above zero");
  EXPECT_EQ(quantize(scalar(-0.5f)).refusal(), "scale 0 of c1 is -0.5; scales are finite and above zero");
  EXPECT_NE(quantize(scalar(-0.0f)).refusal(), "");
  EXPECT_NE(quantize(scalar(std::nanf(""))).refusal(), "");
  EXPECT_NE(quantize(scalar(std::numeric_limits<float>::infinity())).refusal(), "");
  EXPECT_EQ(quantize(floats({1, 1, 0, 1})).refusal(), "scale 2 of c1 is 0; scales are finite and above zero");
  EXPECT_EQ(quantize(tensor<uint16_t>(DType::kF16, {}, {0x3c00})).refusal(), "");
  EXPECT_NE(quantize(tensor<uint16_t>(DType::kF16, {}, {0x7c00})).refusal(), "");
  EXPECT_NE(quantize(tensor<uint16_t>(DType::kBF16, {}, {0xbf80})).refusal(), "");
  EXPECT_EQ(quantize(tensor<int32_t>(DType::kI32, {}, {1})).refusal(), "its scale c1 has type I32");
  EXPECT_EQ(quantize(floats({})).refusal(), "its scale c1 is empty");
  EXPECT_EQ(OneNode("QuantizeLinear").input(DType::kF32, {2}).refusal(), "input 1, a scale, is missing");
  EXPECT_EQ(OneNode("QuantizeLinear").input(DType::kF32, {2}).unknown().refusal(), "") << "known at run time";
}

TEST(CheckQuantization, ZeroPointsHaveTheTypeOfTheCodes) {
  EXPECT_EQ(dequantize(DType::kI8, {2}, scalar(1)).refusal(), "");
  EXPECT_EQ(dequantize(DType::kI8, {2}, scalar(1)).none().refusal(), "");
  EXPECT_EQ(dequantize(DType::kI8, {2}, scalar(1)).constant(zero(DType::kI8)).refusal(), "");
  EXPECT_EQ(dequantize(DType::kI8, {2}, scalar(1)).constant(zero(DType::kU8)).refusal(),
            "its zero point c2 has type U8, its codes c0 have I8");
  EXPECT_EQ(quantize(scalar(1)).constant(zero(DType::kF32)).refusal(), "its zero point c2 has type F32");
  EXPECT_EQ(quantize(scalar(1)).constant(zero(DType::kI32)).refusal(),
            "its zero point c2 has type I32; nothing is quantized to that");
  EXPECT_EQ(quantize(scalar(1)).constant(codes(DType::kU8, {4})).refusal(),
            "it has 1 scales and 4 zero points");
  EXPECT_EQ(dequantize(DType::kF32, {2}, scalar(1)).refusal(), "c0 has type F32, which no codes have");
  EXPECT_EQ(dequantize(DType::kI32, {2}, scalar(1)).constant(zero(DType::kI32)).refusal(), "");
  EXPECT_EQ(dequantize(DType::kI32, {2}, scalar(1)).constant(tensor<int32_t>(DType::kI32, {}, {3})).refusal(),
            "its zero point c2 is 3; codes of type I32 have none");
}

TEST(CheckQuantization, ChannelsFitTheirAxis) {
  const Tensor three = floats({1, 2, 3});
  EXPECT_EQ(dequantize(DType::kI8, {2, 3}, three).refusal(), "") << "the default axis is 1";
  EXPECT_EQ(dequantize(DType::kI8, {3, 2}, three).axis(0).refusal(), "");
  EXPECT_EQ(dequantize(DType::kI8, {3, 2}, three).axis(-2).refusal(), "");
  EXPECT_EQ(dequantize(DType::kI8, {3, 2}, three).refusal(),
            "3 scales along axis 1 of a tensor of shape [3, 2]");
  EXPECT_EQ(dequantize(DType::kI8, {3, 2}, three).axis(2).refusal(), "axis 2 of a tensor of shape [3, 2]");
  EXPECT_EQ(dequantize(DType::kI8, {3, 2}, three).axis(-3).refusal(), "axis -3 of a tensor of shape [3, 2]");
  EXPECT_EQ(dequantize(DType::kI8, {3, 2}, three).axis(INT64_MIN).refusal().substr(0, 4), "axis");
  EXPECT_EQ(dequantize(DType::kI8, {3}, three).refusal(), "axis 1 of a tensor of shape [3]");
  EXPECT_EQ(dequantize(DType::kI8, {3}, scalar(1)).axis(7).refusal(), "") << "one scale has no axis";
  EXPECT_EQ(dequantize(DType::kI8, {2, 3}, tensor<float>(DType::kF32, {1, 3}, {1, 2, 3})).refusal(),
            "scales of shape [1, 3], not one for each channel");
  EXPECT_EQ(quantize(floats({1, 2, 3, 4})).refusal(), "");
  EXPECT_EQ(quantize(three).refusal(), "3 scales along axis 1 of a tensor of shape [-1, 4]");
  EXPECT_EQ(quantize(three).axis(0).refusal(), "") << "an open size fits";
}

TEST(CheckQuantization, WhatPairsSayOfEachOther) {
  // codes = QuantizeLinear(x); y = DequantizeLinear(codes)
  // with a zero point of another type, or another axis.
  const auto refusal = [](DType first, DType second, Tensor scale) {
    Graph graph;
    graph.name = "m.onnx";
    const ValueId x = graph.add_value("x");
    graph.values[x].shape = Shape{2, 4};
    graph.inputs = {x};
    const ValueId one = graph.add_constant("one", scalar(1)), s = graph.add_constant("s", std::move(scale));
    const ValueId z = graph.add_constant("z", zero(first));
    const ValueId codes = graph.add_value("codes"), y = graph.add_value("y");
    const ValueId w = graph.add_constant("w", engine::codes(second, graph.values[s].constant->shape));
    graph.nodes.push_back({"q", "QuantizeLinear", 13, {x, one, z}, {codes}, {}});
    graph.nodes.push_back({"d", "DequantizeLinear", 13, {codes, s, w}, {y}, {}});
    try {
      check_quantization(graph);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal(DType::kI8, DType::kI8, scalar(1)), "");
  EXPECT_EQ(
      refusal(DType::kI8, DType::kU8, scalar(1)),
      "[onnx] m.onnx: node d (DequantizeLinear): its zero point w has type U8, its codes codes have I8");
  EXPECT_NE(refusal(DType::kI8, DType::kI8, floats({1, 2, 3})).find("3 scales along axis 1"),
            std::string::npos);
}

TEST(CheckQuantization, OperatorsOnCodes) {
  const auto matmul = [](Tensor b_scale, const Shape& b) {
    return OneNode("QLinearMatMul")
        .input(DType::kU8, {2, 3})
        .constant(scalar(1))
        .constant(zero(DType::kU8))
        .constant(codes(DType::kI8, b))
        .constant(b_scale)
        .constant(codes(DType::kI8, b_scale.shape))
        .constant(scalar(1))
        .constant(zero(DType::kU8));
  };
  EXPECT_EQ(matmul(scalar(1), {3, 4}).refusal(), "");
  EXPECT_EQ(matmul(floats({1, 2, 3, 4}), {3, 4}).refusal(), "");
  EXPECT_EQ(matmul(floats({1, 2, 3}), {3, 4}).refusal(), "3 scales along axis 1 of a tensor of shape [3, 4]");
  EXPECT_NE(matmul(floats({1, 2, 3, 0}), {3, 4}).refusal(), "");
  EXPECT_EQ(OneNode("MatMulInteger").input(DType::kU8, {2, 3}).constant(codes(DType::kI8, {3, 4})).refusal(),
            "");
  EXPECT_NE(OneNode("MatMulInteger")
                .input(DType::kU8, {2, 3})
                .constant(codes(DType::kI8, {3, 4}))
                .constant(zero(DType::kI8))
                .refusal(),
            "");
  const auto add = [](Tensor c_scale) {
    OneNode node("com.microsoft.QLinearAdd");
    for (int i = 0; i < 2; ++i)
      node.constant(codes(DType::kI8, {4})).constant(scalar(1)).constant(zero(DType::kI8));
    return node.constant(std::move(c_scale)).constant(zero(DType::kI8));
  };
  EXPECT_EQ(add(scalar(2)).refusal(), "");
  EXPECT_EQ(add(floats({2})).refusal(), "");
  EXPECT_EQ(add(scalar(0)).refusal(), "scale 0 of c6 is 0; scales are finite and above zero");
  EXPECT_EQ(add(floats({2, 2, 2, 2})).refusal(), "it has 4 scales and 1 zero points");
  EXPECT_EQ(OneNode("com.microsoft.QGemm")
                .input(DType::kU8, {2, 3})
                .constant(scalar(1))
                .constant(zero(DType::kU8))
                .constant(codes(DType::kI8, {4, 3}))
                .constant(floats({1, 2, 3, 4}))
                .constant(codes(DType::kI8, {4}))
                .attribute("transB", 1)
                .refusal(),
            "");
  EXPECT_EQ(OneNode("MatMul").constant(scalar(0)).refusal(), "") << "others are not looked at";
}

}  // namespace
}  // namespace qdqbert::engine
