// Files as ONNX Runtime's quantization tools write them.
// Two entries of one program, with the tools between them.
#include <filesystem>

#include <gtest/gtest.h>

#include "qdqbert/engine/check_operands.h"
#include "qdqbert/engine/check_quantization.h"
#include "qdqbert/engine/import_onnx.h"
#include "qdqbert/onnx/writer.h"

#include "tests/onnx/random_bert.h"

namespace qdqbert::engine {
namespace {

namespace fs = std::filesystem;
const fs::path kDirectory = fs::path(QDQBERT_BINARY_DIR) / "peer-files" / "quantized";

TEST(QuantizedByPeers, Writes) {
  fs::remove_all(kDirectory);
  fs::create_directories(kDirectory);
  testing::RandomBertOptions options;
  options.layers = 1;
  options.hidden = options.intermediate = options.vocabulary = options.positions = 8;
  options.heads = 2;
  options.quantized = false;
  const testing::RandomBert bert(options);
  onnx::write_model(onnx::build_bert_graph(bert.source()), kDirectory / "float.onnx");
}

TEST(QuantizedByPeers, Imports) {
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(kDirectory)) {
    if (entry.path().extension() != ".onnx") continue;
    SCOPED_TRACE(entry.path().filename().string());
    const Graph graph = import_onnx(entry.path());
    EXPECT_FALSE(graph.nodes.empty());
    EXPECT_NO_THROW(check_operands(graph));
    EXPECT_NO_THROW(check_quantization(graph));
    ++files;
  }
  EXPECT_GT(files, 20u);
}

}  // namespace
}  // namespace qdqbert::engine
