// Every operator against ONNX Runtime: one_node_models.py makes the models and says what comes out of them.
#include <cmath>
#include <cstdlib>
#include <map>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/engine/import_onnx.h"
#include "qdqbert/engine/passes/expand.h"
#include "qdqbert/engine/reference/operators.h"
#include "qdqbert/io/safetensors.h"

#include "tests/support/scratch_directory.h"

namespace qdqbert::engine {
namespace {

Tensor copied(const TensorView& view) {
  return tensor_of({view.dtype, view.shape, {view.data.begin(), view.data.end()}});
}

std::vector<Tensor> run_file(const std::filesystem::path& path, const io::SafetensorsFile& tensors,
                             const reference::Environment& environment) {
  Graph graph = import_onnx(path);
  expand_layers(graph);
  std::vector<Tensor> inputs;
  for (const ValueId id : graph.inputs)
    inputs.push_back(copied(tensors.at("input." + graph.values[id].name)));
  return reference::run(graph, inputs, environment);
}

bool is_code(DType dtype) {
  return dtype == DType::kI8 || dtype == DType::kU8;
}

/// Empty when the tensors are equal: integers exactly (a share `flips` of codes may differ by one), floats
/// within `tolerance` relative to the greater of 1 and the expected value.
std::string difference(const Tensor& ours, const TensorView& theirs, double tolerance, double flips) {
  if (ours.dtype != theirs.dtype || ours.shape != theirs.shape)
    return fmt::format("{}{} instead of {}{}", name_of(ours.dtype), to_string(ours.shape),
                       name_of(theirs.dtype), to_string(theirs.shape));
  const std::vector<float> a = to_float32(ours.view()), b = to_float32(theirs);
  const bool floating = ours.dtype == DType::kF32 || ours.dtype == DType::kF16 || ours.dtype == DType::kF64;
  size_t flipped = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (a[i] == b[i]) continue;
    const bool close = std::fabs(a[i] - b[i]) <= tolerance * std::max(1.0f, std::fabs(b[i]));
    if (floating && close) continue;
    if (is_code(ours.dtype) && std::fabs(a[i] - b[i]) == 1 &&
        static_cast<double>(++flipped) <= flips * static_cast<double>(a.size()))
      continue;
    return fmt::format("element {} is {}, expected {}", i, a[i], b[i]);
  }
  // What floats cannot tell apart.
  if (ours.dtype == DType::kI64 && to_int64(ours.view()) != to_int64(theirs)) return "large integers differ";
  return {};
}

TEST(ReferencePeer, OneNodeModelsAsInOnnxRuntime) {
  const ScratchDirectory scratch;
  const char* python = std::getenv("QDQBERT_PYTHON");
  const std::string command = std::string(python && *python ? python : "python3") +
                              " " QDQBERT_SOURCE_DIR "/tests/engine/one_node_models.py " +
                              scratch.path().string() + " > " + (scratch / "log").string() + " 2>&1";
  const int status = std::system(command.c_str());
  ASSERT_EQ(status, 0) << "the PyPI packages onnx, onnxruntime, numpy and safetensors are needed: "
                       << read_file(scratch / "log");
  const Json list = parse_json(read_file(scratch / "cases.json"), "cases.json");
  WorkerPool pool(3);
  std::map<std::string, int> models;
  int failures = 0;
  for (const Json& item : list["cases"]) {
    const std::string name = item["name"], file = item["file"];
    SCOPED_TRACE(file + " " + name);
    ++models[item["op"]];
    const auto tensors = io::SafetensorsFile::open(scratch / (file + ".safetensors"));
    std::string wrong;
    try {
      for (WorkerPool* workers : {static_cast<WorkerPool*>(nullptr), &pool}) {
        const auto outputs = run_file(scratch / (file + ".onnx"), tensors, {.pool = workers});
        if (item["refused"]) wrong = "computed, the peer refuses";
        for (size_t i = 0; !item["refused"] && i < outputs.size() && wrong.empty(); ++i)
          wrong = difference(outputs[i], tensors.at("output." + std::to_string(i)), item["tolerance"],
                             item["flips"]);
      }
    } catch (const InputError& error) {
      if (!item["refused"]) wrong = error.what();
    }
    EXPECT_EQ(wrong, "");
    failures += !wrong.empty();
  }
  std::printf("%zu one-node models of %zu operators, %d wrong; neither peer computes %zu more\n",
              list["cases"].size(), models.size(), failures, list["skipped"].size());
  EXPECT_GE(list["cases"].size(), 300u);
}

}  // namespace
}  // namespace qdqbert::engine
