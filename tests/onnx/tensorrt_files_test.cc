// Writes the files that tests/peer asks TensorRT about.
#include <filesystem>

#include <gtest/gtest.h>

#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/onnx/lint.h"
#include "qdqbert/onnx/reader.h"
#include "qdqbert/onnx/writer.h"

#include "tests/onnx/export_kinds.h"
#include "tests/onnx/lint_variants.h"
#include "tests/support/golden.h"

namespace qdqbert::onnx {
namespace {

namespace fs = std::filesystem;
using qdqbert::testing::ExportKind;
using qdqbert::testing::RandomBert;

fs::path folder() {
  return fs::path(QDQBERT_BINARY_DIR) / "peer-files" / "tensorrt";
}

std::string_view name_of(TensorRtProduct kind) {
  switch (kind) {
    case TensorRtProduct::kFloat:
      return "float";
    case TensorRtProduct::kInt8Gemm:
      return "gemm";
    case TensorRtProduct::kInt8Batched:
      return "batched";
    case TensorRtProduct::kFusedAttention:
      return "attention";
  }
  return "";
}

Json verdict_on(const Model& model) {
  const LintReport report = lint(model);
  Json verdict = {{"tensorrt_refusals", report.tensorrt_refusals},
                  {"onnxruntime_refusals", report.onnxruntime_refusals},
                  {"lines", report.lines()},
                  {"products", Json::array()}};
  for (const ProductReport& product : report.products)
    verdict["products"].push_back({{"name", product.name},
                                   {"tensorrt", name_of(product.kind)},
                                   {"onnxruntime", product.integer_in_onnxruntime ? "integer" : "float"}});
  return verdict;
}

TEST(TensorRtFiles, Kinds) {
  fs::remove_all(folder() / "kinds");
  for (const ExportKind& kind : qdqbert::testing::export_kinds()) {
    const fs::path directory = folder() / "kinds" / kind.name;
    fs::create_directories(directory);
    const Model model = build_bert_graph(RandomBert(kind.model).source(), kind.graph);
    write_model(model, directory / "model.onnx");
    write_file(directory / "case.json", dump_json(Json{{"opset", kind.graph.opset},
                                                       {"attentions", kind.attentions},
                                                       {"products", kind.products},
                                                       {"own_layers", kind.own_layers},
                                                       {"lint", verdict_on(model)}}));
  }
}

TEST(TensorRtFiles, Variants) {
  fs::remove_all(folder() / "variants");
  for (const qdqbert::testing::LintVariant& variant : qdqbert::testing::lint_variants()) {
    const fs::path directory = folder() / "variants" / variant.name;
    fs::create_directories(directory);
    write_model(variant.model, directory / "model.onnx");
    write_file(directory / "case.json", dump_json(Json{{"lint", verdict_on(variant.model)}}));
  }
}

TEST(TensorRtFiles, RecordedFiles) {
  fs::remove_all(folder() / "recorded");
  for (const auto& entry : fs::directory_iterator(qdqbert::testing::golden_dir() / "onnx")) {
    const fs::path file = entry.path() / "model.onnx",
                   directory = folder() / "recorded" / entry.path().filename();
    if (!fs::exists(file)) continue;
    fs::create_directories(directory);
    write_file(
        directory / "case.json",
        dump_json(Json{{"file", file.string()}, {"positions", 64}, {"lint", verdict_on(read_model(file))}}));
  }
}

}  // namespace
}  // namespace qdqbert::onnx
