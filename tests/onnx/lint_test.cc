// What the lint says of graphs that keep or break one rule each. tests/peer/tensorrt_lint.py asks TensorRT
// and ONNX Runtime about the same graphs.
#include "qdqbert/onnx/lint.h"

#include <algorithm>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"
#include "qdqbert/onnx/reader.h"
#include "qdqbert/onnx/summary.h"

#include "tests/onnx/export_kinds.h"
#include "tests/onnx/lint_variants.h"
#include "tests/support/golden.h"

namespace qdqbert::onnx {
namespace {

using qdqbert::testing::fusing_bert;
using qdqbert::testing::LintVariant;
using qdqbert::testing::RandomBert;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

const std::string kLayer = "/bert/encoder/layer.0/", kSelf = kLayer + "attention/self/",
                  kDense = kLayer + "attention/output/dense/";

const Model& variant(const std::string& name) {
  static const std::vector<LintVariant> variants = qdqbert::testing::lint_variants();
  const auto found =
      std::find_if(variants.begin(), variants.end(), [&](const auto& each) { return each.name == name; });
  if (found == variants.end()) fail("[test] no variant {}", name);
  return found->model;
}

LintReport report_on(const std::string& name) {
  return lint(variant(name));
}

PairReport pair_of(const std::string& variant_name, const std::string& pair) {
  for (const PairReport& each : report_on(variant_name).pairs)
    if (each.name == pair) return each;
  fail("[test] no pair {} in {}", pair, variant_name);
}

ProductReport product_of(const std::string& variant_name, const std::string& product) {
  for (const ProductReport& each : report_on(variant_name).products)
    if (each.name == product) return each;
  fail("[test] no product {} in {}", product, variant_name);
}

TEST(Lint, SaysWhatEachPairBecomes) {
  const LintReport report = report_on("as-exported");
  EXPECT_THAT(report.tensorrt_refusals, IsEmpty());
  EXPECT_THAT(
      report.lines(),
      UnorderedElementsAre(
          "4 fused: TensorRT: INT8 GEMM; ONNX Runtime: MatMulIntegerToFloat",
          "6 fused: TensorRT: INT8 GEMM; ONNX Runtime: MatMul in float: others read its signed codes, too",
          "2 fused: TensorRT: INT8 fused attention (profiles of up to 512 tokens); "
          "ONNX Runtime: MatMulIntegerToFloat",
          "2 fused: TensorRT: INT8 fused attention (profiles of up to 512 tokens); "
          "ONNX Runtime: QLinearMatMul",
          "2 not fused: TensorRT: nothing gained: the GEMM writes float, and Add's kernel computes the pair; "
          "ONNX Runtime: Add in float: no Q behind it"));
  require_no_orphan(report);
}

// 1.
TEST(Lint, AttentionFusesByHeadSizeAndAllFivePairs) {
  const std::map<std::string, std::string> obstacles = {
      {"heads-of-8", "heads of 8, and those of 16, 32 and 64 fuse"},
      {"heads-of-24", "heads of 24, and those of 16, 32 and 64 fuse"},
      {"heads-of-128", "heads of 128, and those of 16, 32 and 64 fuse"},
      {"no-q-before-query", "no Q on the query"},
      {"no-q-before-key", "no Q on the key"},
      {"no-q-behind-softmax", "no Q behind softmax"},
      {"no-q-before-value", "no Q on the value"},
      {"no-q-behind-context", "no Q alone reads the second product"},
      {"context-read-by-two", "no Q alone reads the second product"},
      {"scale-computed-from-input", "no Q alone reads the second product"},
      {"activation-with-several-scales", "the Q behind the second product has no single constant scale"}};
  for (const auto& [name, obstacle] : obstacles) {
    int unfused = 0;
    for (const ProductReport& product : report_on(name).products) {
      EXPECT_NE(product.kind, TensorRtProduct::kFusedAttention) << name << " " << product.name;
      unfused += product.tensorrt == "INT8 batched GEMM, attention not fused: " + obstacle;
    }
    EXPECT_GE(unfused, 1) << name;
  }
  EXPECT_EQ(product_of("no-q-before-value", kSelf + "MatMul_1").tensorrt,
            "MatMul in float: its other input is not quantized");
}

// 2.
TEST(Lint, TheSkipPaysAndTheLocalTermDoesNot) {
  const std::string skip = kLayer + "attention/output/add_residual_input_quantizer",
                    local = kLayer + "attention/output/add_local_input_quantizer";
  EXPECT_EQ(pair_of("as-exported", local).fate, PairFate::kNotFused);
  EXPECT_EQ(pair_of("no-q-on-skip", local).fate, PairFate::kNotFused);
  // Another range than the query's input, and so a pair of its own.
  RandomBert bert(fusing_bert());
  bert.ranges.at("bert.encoder.layer.0.attention.output.add_residual_input_quantizer").amax = {5.0f};
  const auto pairs = lint(build_bert_graph(bert.source())).pairs;
  const auto found =
      std::find_if(pairs.begin(), pairs.end(), [&](const auto& pair) { return pair.name == skip; });
  ASSERT_NE(found, pairs.end());
  EXPECT_EQ(found->fate, PairFate::kFused);
  EXPECT_EQ(found->tensorrt, "skip of Add read as INT8 by its kernel");
  EXPECT_EQ(found->onnxruntime, "Add in float: no Q behind it");
}

// 3.
TEST(Lint, ScalesOfAWeightLieAlongItsOutputs) {
  for (const char* name : {"axis-0-of-square-weight", "axis-minus-2"}) {
    const ProductReport product = product_of(name, kDense + "MatMul");
    EXPECT_EQ(product.tensorrt, "MatMul in float: the weight's scales are not along its outputs") << name;
    EXPECT_EQ(product.onnxruntime, "MatMulIntegerToFloat, with scales along the wrong axis") << name;
  }
  for (const char* name : {"axis-minus-1", "transposed-weight-behind-dq", "gemm", "gemm-transposed"})
    EXPECT_EQ(product_of(name, kDense + "MatMul").tensorrt, "INT8 GEMM") << name;
}

// 4 and 5.
TEST(Lint, UnsignedCodesAreNamedByBoth) {
  const std::string pair = kDense + "_input_quantizer";
  const PairReport missing = pair_of("no-zero-point", pair);
  EXPECT_EQ(missing.fate, PairFate::kFused);
  EXPECT_EQ(missing.tensorrt, "INT8 GEMM, signed");
  EXPECT_EQ(missing.onnxruntime, "MatMulIntegerToFloat, unsigned for want of a zero point");
  EXPECT_EQ(pair_of("no-zero-point-of-weight", kDense + "_weight_quantizer").fate, PairFate::kFused);
  const PairReport zero = pair_of("uint8-zero-point-0", pair);
  EXPECT_EQ(zero.fate, PairFate::kOrphan);
  EXPECT_EQ(zero.tensorrt, "takes its unsigned codes as signed, with a warning only");
  EXPECT_EQ(zero.onnxruntime, "MatMulIntegerToFloat, unsigned");
  EXPECT_THROW(require_no_orphan(report_on("uint8-zero-point-0")), InputError);
}

// 6.
TEST(Lint, CodesMayBeReadByOthersAndScaledOtherwise) {
  for (const char* name : {"codes-read-by-cast", "dq-has-another-scale", "dequantized-output"}) {
    EXPECT_EQ(product_of(name, kDense + "MatMul").tensorrt, "INT8 GEMM") << name;
    EXPECT_EQ(pair_of(name, kDense + "_input_quantizer").fate, PairFate::kFused) << name;
  }
  EXPECT_EQ(product_of("codes-read-by-cast", kDense + "MatMul").onnxruntime,
            "MatMul in float: others read its signed codes, too");
}

// 7.
TEST(Lint, OperatorsWithoutIntegerFormAreNamed) {
  EXPECT_EQ(pair_of("pair-before-softmax", "/extra").tensorrt,
            "Softmax has no integer form; its kernel computes the pair");
  EXPECT_EQ(pair_of("pair-before-softmax", "/extra").onnxruntime, "QLinearSoftmax");
  const PairReport erf = pair_of("pair-before-erf", "/extra");
  EXPECT_EQ(erf.fate, PairFate::kOrphan);
  EXPECT_EQ(erf.tensorrt, "Erf has no integer form; its kernel computes the pair");
  EXPECT_EQ(erf.onnxruntime, "Erf has no integer form");
  EXPECT_EQ(product_of("pair-before-softmax", kSelf + "MatMul_1").kind, TensorRtProduct::kFusedAttention);
  const PairReport alone = pair_of("weight-alone", kDense + "_weight_quantizer");
  EXPECT_EQ(alone.fate, PairFate::kNotFused);
  EXPECT_EQ(
      alone.tensorrt,
      "MatMul in float: its other input is not quantized, and dequantizing the weight is work of its own");
  EXPECT_EQ(alone.onnxruntime, "MatMulNBits: its other input is not quantized");
  EXPECT_EQ(pair_of("activation-alone", kDense + "_input_quantizer").tensorrt,
            "MatMul in float: its other input is not quantized");
  EXPECT_EQ(pair_of("dq-without-reader", kDense + "_input_quantizer").fate, PairFate::kFused);
}

// 8.
TEST(Lint, RefusalsOfTheWholeFileAreToldAsSuch) {
  const std::map<std::string, std::vector<std::string>> refusals = {
      {"zero-point-3",
       {kDense + "_input_quantizer/QuantizeLinear: its zero point is not 0",
        kDense + "_input_quantizer/DequantizeLinear: its zero point is not 0"}},
      {"uint8-zero-point-128",
       {kDense + "_input_quantizer/QuantizeLinear: its zero point is not 0",
        kDense + "_input_quantizer/DequantizeLinear: its zero point is not 0"}},
      {"scalar-int8-constant", {"four/DequantizeLinear: its codes are a single number"}},
      {"int32-bias", {"bias/DequantizeLinear: its codes are I32"}},
      {"two-q-of-one-name", {kDense + "_input_quantizer/QuantizeLinear: two nodes have this name"}},
      {"two-dq-of-one-name", {kDense + "_input_quantizer/DequantizeLinear: two nodes have this name"}}};
  for (const auto& [name, expected] : refusals) {
    const LintReport report = report_on(name);
    EXPECT_EQ(report.tensorrt_refusals, expected) << name;
    EXPECT_THAT(report.lines(), Contains("TensorRT refuses the file: " + expected[0]));
    EXPECT_THROW(require_no_orphan(report), InputError) << name;
  }
  EXPECT_EQ(pair_of("zero-point-3", kDense + "_input_quantizer").tensorrt, "refuses the file");
  EXPECT_EQ(pair_of("zero-point-3", kDense + "_input_quantizer").onnxruntime, "MatMulIntegerToFloat");
  EXPECT_THAT(report_on("two-q-of-one-name").onnxruntime_refusals, Not(IsEmpty()));
  EXPECT_THAT(report_on("two-others-of-one-name").onnxruntime_refusals,
              ElementsAre(kLayer + "attention/output/LayerNorm/Sub: two nodes have this name"));
  EXPECT_THAT(report_on("two-others-of-one-name").tensorrt_refusals, IsEmpty());
  EXPECT_THAT(report_on("int8-vector-constant").tensorrt_refusals, IsEmpty());
}

// 9.
TEST(Lint, FactorsAndTranspositionsMayStandBehindThePair) {
  for (const char* name : {"factor-on-key", "factor-on-query", "factor-between-dq-and-product", "no-factor",
                           "key-transposed-behind-dq"})
    EXPECT_EQ(product_of(name, kSelf + "MatMul").kind, TensorRtProduct::kFusedAttention) << name;
  EXPECT_EQ(product_of("factor-between-dq-and-product", kSelf + "MatMul").onnxruntime,
            "MatMul in float: a factor stands behind the DequantizeLinear");
}

// 10.
TEST(Lint, GemmWithAFloatBiasFuses) {
  for (const char* name : {"gemm", "gemm-transposed"}) {
    EXPECT_EQ(product_of(name, kDense + "MatMul").tensorrt, "INT8 GEMM") << name;
    EXPECT_EQ(product_of(name, kDense + "MatMul").onnxruntime, "QGemm") << name;
  }
}

TEST(Lint, HalfScalesOfWeightsAreFloatForOnnxRuntime) {
  RandomBert bert(fusing_bert());
  for (const ProductReport& product : lint(build_bert_graph(bert.source(), {19})).products) {
    const bool attention = product.kind == TensorRtProduct::kFusedAttention;
    EXPECT_EQ(product.onnxruntime, attention ? "MatMulIntegerToFloat"
                                             : "MatMul in float: the scales of its weight are half precision")
        << product.name;
  }
}

// Faults of an earlier lint: a product of activations behind an operator with a constant is no product by a
// weight; a scale may be computed.
TEST(Lint, ConstantsAreWhatIsComputedFromConstantsAlone) {
  const Model original =
      read_model(qdqbert::testing::golden_dir() / "onnx" / "ref_per_channel" / "model.onnx");
  int gemms = 0, batched = 0;
  for (const ProductReport& product : lint(original).products) {
    gemms += product.kind == TensorRtProduct::kInt8Gemm;
    batched +=
        product.kind == TensorRtProduct::kInt8Batched || product.kind == TensorRtProduct::kFusedAttention;
  }
  EXPECT_EQ(gemms, 3 * batched);
  EXPECT_GT(batched, 0);
}

TEST(Lint, AScaleMayBeComputed) {
  EXPECT_EQ(product_of("scale-computed-from-constants", kDense + "MatMul").tensorrt, "INT8 GEMM");
  EXPECT_EQ(product_of("scale-computed-from-input", kDense + "MatMul").tensorrt,
            "MatMul in float: a scale is computed from the input");
  EXPECT_EQ(product_of("activation-with-several-scales", kDense + "MatMul").tensorrt,
            "MatMul in float: an activation has several scales");
  const std::string name = kDense + "_input_quantizer";
  for (const char* variant_name : {"scale-computed-from-constants", "scale-computed-from-input"})
    for (const QuantizedTensor& pair : summarize(variant(variant_name)).quantized)
      EXPECT_EQ(pair.scales.empty(), pair.name == name) << pair.name;
}

TEST(Lint, OrphansFail) {
  const auto broken = [](const auto& change) {
    Model model = build_bert_graph(RandomBert(fusing_bert()).source());
    auto& graph = *model.proto().mutable_graph();
    for (auto& node : *graph.mutable_node())
      if (node.name() == kLayer + "output/dense/MatMul") change(node, graph);
    return lint(model);
  };
  const LintReport unread = broken([](auto& matmul, auto&) {
    matmul.set_input(0, kLayer + "intermediate/intermediate_act_fn/Mul_1_output_0");
  });
  const LintReport negative = broken([](auto&, auto& graph) {
    for (auto& tensor : *graph.mutable_initializer())
      if (tensor.name() == "bert.encoder.layer.0.output.dense._input_quantizer.scale") {
        const float scale = -1;
        tensor.set_raw_data(&scale, sizeof(scale));
      }
  });
  for (const auto& [report, why] :
       {std::pair(unread, "nothing uses it"), std::pair(negative, "its scale -1 is not positive")}) {
    EXPECT_EQ(report.count(PairFate::kOrphan), 1);
    EXPECT_THAT(report.lines(), Contains(HasSubstr(why)));
    EXPECT_THROW(require_no_orphan(report), InputError);
  }
}

}  // namespace
}  // namespace qdqbert::onnx
