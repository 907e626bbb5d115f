// The graphs that we write: structure, checker, every variant.
#include "qdqbert/onnx/bert_graph.h"

#include <cmath>

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"
#include "qdqbert/onnx/checker.h"
#include "qdqbert/onnx/lint.h"
#include "qdqbert/onnx/summary.h"

#include "tests/onnx/random_bert.h"
#include "tests/support/golden.h"

namespace qdqbert::onnx {
namespace {

using qdqbert::testing::RandomBert;
using qdqbert::testing::RandomBertOptions;

TEST(BertGraph, EveryVariantPassesTheFullCheck) {
  for (int opset : {13, 14, 15, 16, 17})
    for (int head = 0; head <= static_cast<int>(GraphHead::kLanguageModel); ++head)
      for (GraphPositions positions : {GraphPositions::kAbsolute, GraphPositions::kRelativeKey,
                                       GraphPositions::kRelativeKeyQuery, GraphPositions::kNone}) {
        RandomBertOptions shape;
        shape.head = static_cast<GraphHead>(head);
        shape.position_kind = positions;
        shape.layers = 1;
        const RandomBert bert(shape);
        const Model model = build_bert_graph(bert.source(), {opset});
        SCOPED_TRACE(fmt::format("opset {} head {} positions {}", opset, head, static_cast<int>(positions)));
        EXPECT_TRUE(check_model(model));
        const LintReport report = lint(model);
        EXPECT_EQ(report.count(PairFate::kFused), 14);
        EXPECT_EQ(report.count(PairFate::kNotFused), 2) << "local terms of the residual sums";
        EXPECT_EQ(report.count(PairFate::kOrphan), 0);
      }
}

TEST(BertGraph, TheCheckerSeesAWrongGraph) {
  const RandomBert bert({});
  Model model = build_bert_graph(bert.source());
  model.proto().mutable_graph()->mutable_node(3)->set_input(0, "nowhere");
  EXPECT_THROW(check_model(model), InputError);
}

TEST(BertGraph, OpsetsOutsideTheListAreRefused) {
  const RandomBert bert({});
  for (int opset : {12, 18, 20}) EXPECT_THROW(build_bert_graph(bert.source(), {opset}), UsageError) << opset;
}

TEST(BertGraph, HalfPrecisionHasHalfScales) {
  const RandomBert bert({});
  const Model model = build_bert_graph(bert.source(), {19});
  EXPECT_EQ(check_model(model), newest_checked_opset() >= 19);
  const GraphSummary summary = summarize(model);
  EXPECT_EQ(summary.ir_version, 9);
  EXPECT_EQ(summary.quantized.size(), 32u);
  for (const QuantizedTensor& pair : summary.quantized) EXPECT_EQ(pair.scale_type, DType::kF16) << pair.name;
}

TEST(BertGraph, HalfPrecisionRefusesWhatItCannotHold) {
  RandomBert bert({});
  bert.ranges["bert.encoder.layer.0.output.dense._input_quantizer"].amax = {9e6f};
  EXPECT_THROW(build_bert_graph(bert.source(), {19}), InputError);
  RandomBert other({});
  reinterpret_cast<float*>(other.weights["qa_outputs.weight"].data.data())[3] = 1e6f;
  EXPECT_THROW(build_bert_graph(other.source(), {19}), InputError);
}

TEST(BertGraph, SixteenPairsALayerAndNoneWithoutQuantizers) {
  for (bool per_channel : {true, false}) {
    RandomBertOptions shape;
    shape.per_channel = per_channel;
    const GraphSummary summary = summarize(build_bert_graph(RandomBert(shape).source()));
    EXPECT_EQ(summary.op_counts.at("QuantizeLinear"), 32);
    EXPECT_EQ(summary.op_counts.at("DequantizeLinear"), 32);
    EXPECT_EQ(summary.op_counts.count("Gemm"), 0u);
    for (const QuantizedTensor& pair : summary.quantized)
      EXPECT_EQ(pair.axis.has_value(), per_channel && pair.is_constant) << pair.name;
  }
  RandomBertOptions shape;
  shape.quantized = false;
  const GraphSummary plain = summarize(build_bert_graph(RandomBert(shape).source()));
  EXPECT_EQ(plain.op_counts.count("QuantizeLinear") + plain.op_counts.count("DequantizeLinear"), 0u);
}

TEST(BertGraph, UnequalRangesOfOneTensorKeepTheirOwnPairs) {
  RandomBert bert({});
  bert.ranges["bert.encoder.layer.0.attention.self.key._input_quantizer"].amax = {3.5f};
  EXPECT_EQ(summarize(build_bert_graph(bert.source())).op_counts.at("QuantizeLinear"), 33);
}

TEST(BertGraph, ScalesAreRangesOver127) {
  const RandomBert bert({});
  for (const QuantizedTensor& pair : summarize(build_bert_graph(bert.source())).quantized) {
    std::string key = pair.name.substr(1);
    for (char& c : key)
      if (c == '/') c = '.';
    const QuantizerRange& range = bert.ranges.at(key);
    ASSERT_EQ(pair.scales.size(), range.amax.size()) << key;
    for (size_t i = 0; i < pair.scales.size(); ++i) EXPECT_EQ(pair.scales[i], range.amax[i] / 127.0f) << key;
  }
}

TEST(BertGraph, ARangeOfZeroGivesTheSmallestScale) {
  RandomBert bert({});
  bert.ranges["bert.encoder.layer.0.output.dense._weight_quantizer"].amax[5] = 0.0f;
  bert.ranges["bert.encoder.layer.1.output.dense._input_quantizer"].amax = {0x1p-24f};
  const Model model = build_bert_graph(bert.source());
  int smallest = 0;
  for (const QuantizedTensor& pair : summarize(model).quantized)
    for (float scale : pair.scales) smallest += scale == std::numeric_limits<float>::min();
  EXPECT_EQ(smallest, 2);
  EXPECT_EQ(lint(model).count(PairFate::kOrphan), 0);
}

TEST(BertGraph, WrongQuantizersAreRefusedByName) {
  const std::string name = "bert.encoder.layer.1.attention.self.matmul_q_input_quantizer";
  const auto message = [&](const auto& change) -> std::string {
    RandomBert bert({});
    change(bert.ranges[name]);
    try {
      build_bert_graph(bert.source());
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  for (const std::string& text : {
           message([](QuantizerRange& r) { r.num_bits = 4; }),
           message([](QuantizerRange& r) { r.is_unsigned = true; }),
           message([](QuantizerRange& r) { r.narrow_range = true; }),
           message([](QuantizerRange& r) { r.amax.clear(); }),
           message([](QuantizerRange& r) { r.amax = {std::nanf("")}; }),
           message([](QuantizerRange& r) { r.amax = {-1.0f}; }),
           message([](QuantizerRange& r) {
             r.amax = {1.0f, 2.0f};
           }),
       })
    EXPECT_NE(text.find(name), std::string::npos) << text;
}

TEST(BertGraph, Int8WeightsHaveNoQuantizeLinear) {
  const RandomBert bert({});
  const Model model = build_bert_graph(bert.source(), {13, /*int8_weights=*/true});
  EXPECT_TRUE(check_model(model));
  const GraphSummary summary = summarize(model);
  EXPECT_EQ(summary.op_counts.at("QuantizeLinear"), 20);
  EXPECT_EQ(summary.op_counts.at("DequantizeLinear"), 32);
  EXPECT_EQ(summary.quantized.size(), 32u);
  EXPECT_EQ(lint(model).count(PairFate::kFused), 28);
  // Codes are those of QuantizeLinear: x / scale, ties to even, [in, out].
  const std::string key = "bert.encoder.layer.0.intermediate.dense";
  const TensorView codes = model.initializer(key + ".weight");
  ASSERT_EQ(codes.dtype, DType::kI8);
  ASSERT_EQ(codes.shape, (Shape{32, 64}));
  const std::vector<float> weight = to_float32(bert.weights.at(key + ".weight").view());
  const std::vector<float>& amax = bert.ranges.at(key + "._weight_quantizer").amax;
  for (size_t out = 0; out < 64; ++out)
    for (size_t in = 0; in < 32; ++in)
      ASSERT_EQ(static_cast<float>(static_cast<int8_t>(codes.data[in * 64 + out])),
                std::nearbyint(weight[out * 32 + in] / (amax[out] / 127.0f)));
}

TEST(BertGraph, TensorRtAttentionScalesTheQuery) {
  const RandomBert bert({});
  const GraphSummary usual = summarize(build_bert_graph(bert.source()));
  const Model model = build_bert_graph(bert.source(), {13, false, /*trt_attention=*/true});
  EXPECT_TRUE(check_model(model));
  const GraphSummary moved = summarize(model);
  for (size_t i = 0; i < usual.quantized.size(); ++i) {
    const bool query = usual.quantized[i].name.find("matmul_q_") != std::string::npos;
    EXPECT_NEAR(moved.quantized[i].scales[0] * (query ? std::sqrt(8.0) : 1.0), usual.quantized[i].scales[0],
                1e-8)
        << usual.quantized[i].name;
  }
}

TEST(BertGraph, BertBaseShapedGraphsHaveTheReferencesCounts) {
  const Json golden = read_json(qdqbert::testing::golden_dir() / "onnx" / "bert_base_shaped_graph.json");
  const Json& config = golden["config"];
  RandomBertOptions shape;
  shape.layers = config["num_hidden_layers"];
  shape.hidden = config["hidden_size"];
  shape.heads = config["num_attention_heads"];
  shape.intermediate = config["intermediate_size"];
  shape.vocabulary = config["vocab_size"];
  shape.positions = config["max_position_embeddings"];
  shape.types = config["type_vocab_size"];
  for (const char* variant : {"per_channel", "per_tensor", "float"}) {
    SCOPED_TRACE(variant);
    const Json& expected = golden[variant];
    shape.per_channel = std::string(variant) == "per_channel";
    shape.quantized = std::string(variant) != "float";
    const Model model = build_bert_graph(RandomBert(shape).source());
    EXPECT_TRUE(check_model(model));
    const GraphSummary summary = summarize(model);
    std::vector<std::string> inputs, outputs;
    for (const auto& [name, type] : expected["inputs"].items()) inputs.push_back(name);
    for (const auto& [name, type] : expected["outputs"].items()) outputs.push_back(name);
    EXPECT_EQ(summary.inputs, inputs);
    EXPECT_EQ(summary.outputs, outputs);
    // Operators that our way of writing shapes has fewer of, and constants that are initializers, aside.
    for (const char* op : {"QuantizeLinear", "DequantizeLinear", "MatMul", "Softmax", "Erf", "Pow", "Sqrt",
                           "ReduceMean", "Div", "Sub", "Mul", "Add", "Cast", "Split", "Squeeze", "Reshape"})
      EXPECT_EQ(summary.op_counts.count(op) ? summary.op_counts.at(op) : 0,
                expected["op_counts"].value(op, 0))
          << op;
    int64_t constants = 0, activations = 0, per_channel = 0;
    for (const QuantizedTensor& pair : summary.quantized) {
      ++(pair.is_constant ? constants : activations);
      per_channel += pair.axis.has_value();
    }
    EXPECT_EQ(constants, expected["quantize_linear_inputs"]["initializers"].get<int64_t>());
    EXPECT_EQ(activations, expected["quantize_linear_inputs"]["activations"].get<int64_t>());
    EXPECT_EQ(per_channel, expected["quantize_linear_inputs"]["per_channel"].get<int64_t>());
    const Json& listed = expected["quantize_linear"];
    for (size_t i = 0; i < listed.size(); ++i)
      EXPECT_EQ(summary.quantized[i].name + "/QuantizeLinear", listed[i]["node"].get<std::string>());
  }
}

}  // namespace
}  // namespace qdqbert::onnx
