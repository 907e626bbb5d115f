// Every recorded ONNX file runs: in the reference operators, and in a session with integer kernels.
#include <cmath>
#include <filesystem>
#include <map>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
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
  std::map<std::string, std::vector<float>> expected;
};

std::vector<Call> calls_of(const fs::path& directory) {
  std::vector<io::SafetensorsFile> files = {io::SafetensorsFile::open(directory / "io.safetensors")};
  if (fs::exists(directory / "ort.safetensors"))
    files.push_back(io::SafetensorsFile::open(directory / "ort.safetensors"));
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
    const std::string wanted = prefix + "ort_disable_all.";
    for (const auto& file : files)
      for (const auto& tensor : file.tensors())
        if (tensor.name.starts_with(wanted))
          call.expected[tensor.name.substr(wanted.size())] = to_float32(tensor.tensor);
    calls.push_back(std::move(call));
  }
  for (Call& call : calls) {
    call.batch.input_ids = call.ids;
    call.batch.attention_mask = call.mask;
    call.batch.token_type_ids = call.types;
  }
  return calls;
}

/// Outputs of every call against the recorded ones; positions of padding only when `padding` is meant to be
/// equal.
void check_calls(const fs::path& directory, const Session& session, bool padding) {
  size_t compared = 0;
  for (const Call& call : calls_of(directory)) {
    for (const Output& output : session.run(call.batch)) {
      const auto& expected = call.expected.at(output.name);
      ASSERT_EQ(output.values.size(), expected.size()) << output.name;
      const bool by_position =
          output.shape.size() >= 2 && output.shape[1] == static_cast<int64_t>(call.batch.length);
      const size_t columns = by_position ? expected.size() / call.mask.size() : 1;
      for (size_t j = 0; j < expected.size(); ++j) {
        if (!padding && by_position && call.mask[j / columns] == 0) continue;
        EXPECT_NEAR(output.values[j], expected[j], kTolerance * std::max(1.0f, std::fabs(expected[j])))
            << output.name << " element " << j;
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
