// Writing, reading back and printing models.
#include <filesystem>

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/onnx/bert_graph.h"
#include "qdqbert/onnx/checker.h"
#include "qdqbert/onnx/dump.h"
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

}  // namespace
}  // namespace qdqbert::onnx
