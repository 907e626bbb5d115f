// Writing, reading back, linting and printing models.
#include <filesystem>

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/onnx/bert_graph.h"
#include "qdqbert/onnx/checker.h"
#include "qdqbert/onnx/dump.h"
#include "qdqbert/onnx/lint.h"
#include "qdqbert/onnx/reader.h"
#include "qdqbert/onnx/summary.h"
#include "qdqbert/onnx/writer.h"

#include "tests/onnx/random_bert.h"

namespace qdqbert::onnx {
namespace {

namespace fs = std::filesystem;
using qdqbert::testing::RandomBert;
using qdqbert::testing::RandomBertOptions;

class OnnxFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::path(::testing::TempDir()) / fmt::format("onnx_files_{}", ::getpid());
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  fs::path directory_;
};

void expect_same_initializers(const Model& a, const Model& b) {
  ASSERT_EQ(a.proto().graph().initializer_size(), b.proto().graph().initializer_size());
  for (const auto& tensor : a.proto().graph().initializer()) {
    const TensorView x = a.initializer(tensor.name()), y = b.initializer(tensor.name());
    EXPECT_EQ(x.dtype, y.dtype) << tensor.name();
    EXPECT_EQ(x.shape, y.shape) << tensor.name();
    EXPECT_TRUE(std::equal(x.data.begin(), x.data.end(), y.data.begin(), y.data.end())) << tensor.name();
  }
}

TEST_F(OnnxFiles, OneFileReadsBack) {
  const RandomBert bert({});
  const Model model = build_bert_graph(bert.source());
  const fs::path path = directory_ / "model.onnx";
  EXPECT_EQ(write_model(model, path), std::vector<fs::path>{path});
  EXPECT_TRUE(check_file(path));
  const Model again = read_model(path);
  expect_same_initializers(model, again);
  EXPECT_EQ(dump(model).size(), dump(again).size());
  EXPECT_EQ(summarize(again).nodes, summarize(model).nodes);
}

TEST_F(OnnxFiles, ExternalDataAboveTheThreshold) {
  RandomBertOptions shape;
  shape.hidden = 128;
  shape.intermediate = 512;
  shape.layers = 2;
  const RandomBert bert(shape);
  const Model model = build_bert_graph(bert.source());
  constexpr size_t kThreshold = 1 << 20;
  ASSERT_GT(model.outside_bytes(), kThreshold);
  const fs::path path = directory_ / "model.onnx", data = directory_ / "model.onnx.data";
  EXPECT_EQ(write_model(model, path, {kThreshold}), (std::vector<fs::path>{path, data}));
  EXPECT_LT(fs::file_size(path), 200'000u);
  EXPECT_GE(fs::file_size(data), model.outside_bytes());
  EXPECT_TRUE(check_file(path));
  ::onnx::ModelProto proto;
  ASSERT_TRUE(proto.ParseFromString(read_file(path)));
  int external = 0;
  for (const auto& tensor : proto.graph().initializer())
    for (const auto& entry : tensor.external_data())
      if (entry.key() == "offset") {
        EXPECT_EQ(std::stoull(entry.value()) % kDataAlignment, 0u);
        ++external;
      }
  EXPECT_GT(external, 10);
  expect_same_initializers(model, read_model(path));
  // Below the threshold everything is in one file.
  EXPECT_EQ(write_model(model, path, {model.outside_bytes()}), std::vector<fs::path>{path});
  expect_same_initializers(model, read_model(path));
}

TEST_F(OnnxFiles, TheOldFileSurvivesAFailedWrite) {
  const RandomBert bert({});
  const Model model = build_bert_graph(bert.source());
  const fs::path path = directory_ / "model.onnx";
  write_file(path, "old");
  fs::create_directory(directory_ / "model.onnx.data");  // the data file cannot be put there
  EXPECT_THROW(write_model(model, path, {0}), SystemError);
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 2);
}

TEST(OnnxDump, NamesEveryNode) {
  const RandomBert bert({});
  const std::string text = dump(build_bert_graph(bert.source()));
  EXPECT_NE(text.find("ir_version 7, opset ai.onnx 13"), std::string::npos);
  EXPECT_NE(text.find("input input_ids: INT64[batch_size, seq_len]"), std::string::npos);
  EXPECT_NE(text.find("initializer bert.encoder.layer.0.intermediate.dense.weight: FLOAT[32, 64]"),
            std::string::npos);
  EXPECT_NE(text.find("Softmax /bert/encoder/layer.1/attention/self/Softmax"), std::string::npos);
  EXPECT_NE(text.find("perm=[0, 2, 3, 1]"), std::string::npos);
}

std::string fates(const Model& model) {
  std::string text;
  for (const std::string& line : lint(model).lines()) text += line + "\n";
  return text;
}

TEST(OnnxLint, SaysWhatEachPairBecomes) {
  RandomBertOptions shape;
  shape.layers = 1;
  const RandomBert bert(shape);
  EXPECT_EQ(fates(build_bert_graph(bert.source())),
            "10 fused: TensorRT: INT8 GEMM; ONNX Runtime: MatMulIntegerToFloat\n"
            "4 fused: TensorRT: INT8 batched GEMM (fused attention); ONNX Runtime: MatMulIntegerToFloat\n"
            "2 fused: TensorRT: INT8 residual of GEMM + Add; ONNX Runtime: Add in float: no Q behind it\n");
}

TEST(OnnxLint, HalfOfAPairIsNotFused) {
  RandomBertOptions shape;
  shape.layers = 1;
  RandomBert bert(shape);
  bert.ranges["bert.encoder.layer.0.attention.self.matmul_a_input_quantizer"].enabled = false;
  bert.ranges["bert.encoder.layer.0.output.add_residual_input_quantizer"].enabled = false;
  const LintReport report = lint(build_bert_graph(bert.source()));
  EXPECT_EQ(report.count(PairFate::kNotFused), 2);
  EXPECT_EQ(report.count(PairFate::kOrphan), 0);
  require_no_orphan(report);
}

TEST(OnnxLint, OrphansFail) {
  const RandomBert bert({});
  const auto broken = [&](const auto& change) {
    Model model = build_bert_graph(bert.source());
    change(*model.proto().mutable_graph());
    return lint(model);
  };
  const auto node_of = [](::onnx::GraphProto& graph, std::string_view end) -> ::onnx::NodeProto& {
    for (auto& node : *graph.mutable_node())
      if (node.name().size() >= end.size() && node.name().substr(node.name().size() - end.size()) == end)
        return node;
    throw std::logic_error("no such node");
  };
  const LintReport reports[] = {
      // Nothing reads the dequantized value.
      broken([&](auto& graph) {
        auto& matmul = node_of(graph, "layer.0/output/dense/MatMul");
        matmul.set_input(0, "/bert/encoder/layer.0/intermediate/intermediate_act_fn/Mul_1_output_0");
      }),
      // A LayerNorm reads it.
      broken([&](auto& graph) {
        auto& erf = node_of(graph, "layer.0/intermediate/intermediate_act_fn/Div");
        const auto& dq = node_of(graph, "layer.0/output/dense/_input_quantizer/DequantizeLinear");
        node_of(graph, "layer.0/output/dense/MatMul").set_input(0, erf.input(0));
        erf.set_input(0, dq.output(0));
      }),
      // Q and DQ disagree.
      broken([&](auto& graph) {
        node_of(graph, "layer.0/output/dense/_input_quantizer/DequantizeLinear")
            .set_input(1, "bert.encoder.layer.1.output.add_local_input_quantizer.scale");
      }),
      // A zero point that is not zero.
      broken([&](auto& graph) {
        for (auto& tensor : *graph.mutable_initializer())
          if (tensor.data_type() == ::onnx::TensorProto::INT8 && tensor.dims_size() == 0)
            tensor.set_raw_data(std::string(1, '\3'));
      }),
  };
  for (const LintReport& report : reports) {
    EXPECT_GT(report.count(PairFate::kOrphan), 0);
    EXPECT_THROW(require_no_orphan(report), InputError);
  }
}

}  // namespace
}  // namespace qdqbert::onnx
