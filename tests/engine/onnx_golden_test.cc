// Every recorded ONNX file runs: in the reference operators, and in a session with integer kernels.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/json.h"
#include "qdqbert/engine/session.h"
#include "qdqbert/io/safetensors.h"

#include "tests/support/golden.h"

namespace qdqbert::engine {
namespace {

namespace fs = std::filesystem;
using testing::GoldenFamily;
using testing::GoldenSkip;

/// What golden/README.md calls a fair tolerance for ort_disable_all.
constexpr float kTolerance = 1e-5f;

struct Call {
  PaddedBatch<int64_t> batch;
  std::vector<int64_t> ids, mask, types;
  /// By output name: of ONNX Runtime without optimizations, and of the original with fake-quantize operators
  /// (nothing where the file is not the original's, or holds other ranges than the original used).
  std::map<std::string, std::vector<float>> expected, original;
};

/// Ranges that were missing at export are those of the dummy input; the original computes new ones for each
/// input, so only that call is the file's.
bool has_all_ranges(const Json& description) {
  const auto quantizers = description.find("quantizers");
  if (quantizers == description.end()) return true;
  const Json& columns = description.at("quantizer_columns");
  const auto column = [&](const char* name) {
    return static_cast<size_t>(std::find(columns.begin(), columns.end(), Json(name)) - columns.begin());
  };
  const size_t enabled = column("enabled"), amax = column("amax");
  return std::none_of(quantizers->begin(), quantizers->end(),
                      [&](const Json& row) { return row.at(enabled).get<bool>() && row.at(amax).is_null(); });
}

void read_outputs(const io::SafetensorsFile& file, const std::string& prefix,
                  std::map<std::string, std::vector<float>>& outputs) {
  for (const auto& tensor : file.tensors())
    if (tensor.name.starts_with(prefix))
      outputs[tensor.name.substr(prefix.size())] = to_float32(tensor.tensor);
}

std::vector<Call> calls_of(const fs::path& directory) {
  std::vector<io::SafetensorsFile> files = {io::SafetensorsFile::open(directory / "io.safetensors")};
  if (fs::exists(directory / "ort.safetensors"))
    files.push_back(io::SafetensorsFile::open(directory / "ort.safetensors"));
  const Json description = read_json(directory / "case.json");
  const bool all_ranges = has_all_ranges(description);
  std::vector<Call> calls;
  for (size_t i = 0;; ++i) {
    const std::string prefix = "call" + std::to_string(i) + ".";
    const TensorView* ids = files[0].find(prefix + "input.input_ids");
    if (!ids) break;
    Call call;
    call.ids = to_int64(*ids);
    call.mask = to_int64(files[0].at(prefix + "input.attention_mask"));
    call.types = to_int64(files[0].at(prefix + "input.token_type_ids"));
    call.batch.batch = static_cast<size_t>(ids->shape[0]);
    call.batch.length = static_cast<size_t>(ids->shape[1]);
    for (const auto& file : files) read_outputs(file, prefix + "ort_disable_all.", call.expected);
    if (all_ranges || description.value("dummy_input", "") + "." == prefix)
      read_outputs(files[0], prefix + "torch_fb.", call.original);
    calls.push_back(std::move(call));
  }
  for (Call& call : calls) {
    call.batch.input_ids = call.ids;
    call.batch.attention_mask = call.mask;
    call.batch.token_type_ids = call.types;
  }
  return calls;
}

/// Outputs of every call against the recorded ones;
/// positions of padding only when `padding` is meant to be equal.
void check_calls(const fs::path& directory, const Session& session, bool padding) {
  size_t compared = 0;
  for (const Call& call : calls_of(directory)) {
    for (const Output& output : session.run(call.batch)) {
      const auto& expected = call.expected.at(output.name);
      ASSERT_EQ(output.values.size(), expected.size()) << output.name;
      const auto found = call.original.find(output.name);
      const std::vector<float>* original = found == call.original.end() ? nullptr : &found->second;
      const bool by_position =
          output.shape.size() >= 2 && output.shape[1] == static_cast<int64_t>(call.batch.length);
      const size_t columns = by_position ? expected.size() / call.mask.size() : 1;
      for (size_t j = 0; j < expected.size(); ++j) {
        if (!padding && by_position && call.mask[j / columns] == 0) continue;
        EXPECT_NEAR(output.values[j], expected[j], kTolerance * std::max(1.0f, std::fabs(expected[j])))
            << output.name << " element " << j;
        if (original) {
          EXPECT_NEAR(output.values[j], original->at(j), kTolerance * std::max(1.0f, std::fabs(expected[j])))
              << output.name << " element " << j << " of the original";
        }
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 0u);
}

void for_each_file(const std::string& family_name, const std::function<void(const fs::path&)>& body) {
  GoldenFamily family(family_name);
  std::vector<fs::path> directories;
  for (const auto& entry : fs::directory_iterator(testing::golden_dir() / "onnx"))
    if (entry.is_directory()) directories.push_back(entry.path());
  std::sort(directories.begin(), directories.end());
  for (const fs::path& directory : directories)
    family.run(directory.filename().string(), [&] {
      if (!fs::exists(directory / "model.onnx")) throw GoldenSkip{"no file was exported"};
      body(directory);
    });
}

TEST(OnnxGolden, ReferenceOperatorsGiveWhatWasRecorded) {
  for_each_file("onnx reference operators", [](const fs::path& directory) {
    SessionOptions options;
    options.general_mask = true;
    const Session session(directory / "model.onnx", options);
    EXPECT_FALSE(session.packed());
    check_calls(directory, session, true);
  });
}

TEST(OnnxGolden, SessionsGiveWhatWasRecorded) {
  for_each_file("onnx sessions", [](const fs::path& directory) {
    const Session session(directory / "model.onnx");
    check_calls(directory, session, !session.packed());
    std::printf("  %s: %s%s\n", directory.filename().c_str(), session.packed() ? "packed" : "unpacked: ",
                session.packed() ? "" : session.plan()[0].note.c_str());
  });
}

}  // namespace
}  // namespace qdqbert::engine
