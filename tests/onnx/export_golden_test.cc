// Every reference export of golden/onnx: our export of the same weights quantizes
// the same tensors with the same scales. The files are kept in the build folder, where
// tests/peer/run_exports.py runs them in ONNX Runtime.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/io/bert_config.h"
#include "qdqbert/model/heads.h"
#include "qdqbert/model/onnx_export.h"
#include "qdqbert/nn/state_dict.h"
#include "qdqbert/onnx/checker.h"
#include "qdqbert/onnx/reader.h"
#include "qdqbert/onnx/summary.h"

#include "tests/onnx/golden_weights.h"
#include "tests/support/golden.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;
using testing::GoldenFamily;
using testing::GoldenSkip;

at::Tensor tensor_of(const TensorView& view) {
  at::Tensor tensor = at::empty(view.shape, view.dtype == DType::kI64 ? at::kLong : at::kFloat);
  if (view.data.size() != static_cast<size_t>(tensor.nbytes())) fail("[test] a tensor of another type");
  std::memcpy(tensor.data_ptr(), view.data.data(), view.data.size());
  return tensor;
}

model::ModelInputs inputs_of(const io::SafetensorsFile& file, const std::string& call) {
  model::ModelInputs inputs;
  inputs.input_ids = tensor_of(file.at(call + ".input.input_ids"));
  inputs.attention_mask = tensor_of(file.at(call + ".input.attention_mask"));
  inputs.token_type_ids = tensor_of(file.at(call + ".input.token_type_ids"));
  return inputs;
}

/// The model of a case with its weights and the quantizer states that the case lists.
std::shared_ptr<model::PreTrainedModel> model_of(const fs::path& directory, const Json& description) {
  nn::QuantDefaults defaults;
  for (const Json& row : description["quantizers"])
    if (row[0].get<std::string>().find("_weight_quantizer") != std::string::npos && row[3].is_null())
      defaults.weight = quant::desc_8bit_per_tensor();
  const auto model = model::make_model(description["class"].get<std::string>(),
                                       io::read_config(directory / "config.json"), defaults);
  std::set<std::string> missing;
  const bool has_file = fs::exists(directory / "model.onnx") || fs::exists(directory / "weights.safetensors");
  const io::TensorSet weights = has_file ? testing::golden_weights(directory, description) : io::TensorSet();
  for (const nn::NamedTensor& item : nn::state_dict(*model)) {
    const at::NoGradGuard no_grad;
    if (const TensorView* view = weights.find(item.name)) {
      item.tensor.copy_(tensor_of(*view));
    } else if (has_file) {
      missing.insert(item.name);
    }
  }
  EXPECT_TRUE(missing.empty()) << "first weight that the case lacks: " << *missing.begin();
  std::map<std::string, Json> states;
  for (const Json& row : description["quantizers"]) states[row[0].get<std::string>()] = row;
  for (const model::NamedQuantizer& item : model->named_quantizers()) {
    const auto state = states.find(item.name);
    if (state == states.end()) fail("[test] the case does not list quantizer {}", item.name);
    state->second[1].get<bool>() ? item.quantizer->enable() : item.quantizer->disable();
    item.quantizer->set_num_bits(state->second[2].get<int>());
    if (const TensorView* amax = weights.find(item.name + "._amax")) {
      item.quantizer->replace_amax(tensor_of(*amax));
    } else if (state->second[4].is_number()) {
      item.quantizer->replace_amax(at::scalar_tensor(state->second[4].get<double>(), at::kFloat));
    }
  }
  return model;
}

/// What a pair quantizes, whatever its weight's orientation.
struct Pair {
  std::string name;
  bool is_weight;
  bool per_channel;
  std::vector<float> scales;
};

std::map<std::string, Pair> pairs_of(const onnx::Model& model, int64_t output_axis) {
  std::map<std::string, Pair> pairs;
  for (const onnx::QuantizedTensor& pair : onnx::merged(onnx::summarize(model).quantized)) {
    EXPECT_EQ(pair.code_type, DType::kI8) << pair.name;
    EXPECT_EQ(pair.axis.value_or(output_axis), output_axis) << pair.name;
    pairs[pair.name] = {pair.name, pair.is_constant, pair.axis.has_value(), pair.scales};
  }
  return pairs;
}

void expect_same_pairs(const onnx::Model& ours, const onnx::Model& reference) {
  const auto expected = pairs_of(reference, 0), found = pairs_of(ours, 1);
  for (const auto& [name, pair] : expected) {
    const auto match = found.find(name);
    if (match == found.end()) {
      ADD_FAILURE() << "no pair " << name;
      continue;
    }
    EXPECT_EQ(match->second.is_weight, pair.is_weight) << name;
    EXPECT_EQ(match->second.per_channel, pair.per_channel) << name;
    ASSERT_EQ(match->second.scales.size(), pair.scales.size()) << name;
    // Ranges of a sample batch come out of a forward pass, whose sums may round in another order.
    for (size_t i = 0; i < pair.scales.size(); ++i)
      EXPECT_NEAR(match->second.scales[i], pair.scales[i], 2e-6 * pair.scales[i]) << name << " " << i;
  }
  for (const auto& [name, pair] : found) EXPECT_TRUE(expected.count(name)) << "a pair too many: " << name;
}

TEST(OnnxExportGolden, ReferenceExports) {
  const fs::path root = testing::golden_dir() / "onnx";
  const fs::path out = fs::path(QDQBERT_BINARY_DIR) / "peer-files" / "exports";
  fs::remove_all(out);
  GoldenFamily family("onnx_exports");
  std::set<fs::path> directories;
  for (const auto& entry : fs::directory_iterator(root))
    if (entry.is_directory()) directories.insert(entry.path());
  for (const fs::path& directory : directories) {
    const std::string name = directory.filename().string();
    family.run(name, [&] {
      const Json description = read_json(directory / "case.json");
      if (!description.contains("class")) throw GoldenSkip{"quantized by another tool: input of the engine"};
      const auto model = model_of(directory, description);
      const fs::path file = out / name / "model.onnx";
      if (description.contains("export_exception")) {
        EXPECT_THROW(model::to_onnx(*model), InputError);
        return;
      }
      fs::create_directories(file.parent_path());
      const auto io = io::SafetensorsFile::open(directory / "io.safetensors");
      const model::ModelInputs sample = inputs_of(io, description["dummy_input"].get<std::string>());
      model::OnnxExportOptions options;
      options.opset = description["opset"].get<int>();
      const auto report = model::export_onnx(*model, file, options, &sample);
      EXPECT_TRUE(report.checked);
      EXPECT_TRUE(onnx::check_file(file));
      const onnx::Model ours = onnx::read_model(file), reference = onnx::read_model(directory / "model.onnx");
      const auto summary = onnx::summarize(ours), expected = onnx::summarize(reference);
      EXPECT_EQ(summary.inputs, expected.inputs);
      EXPECT_EQ(summary.outputs, expected.outputs);
      EXPECT_EQ(summary.opset, expected.opset);
      EXPECT_EQ(summary.op_counts.count("Gemm"), 0u);
      expect_same_pairs(ours, reference);
      write_file(out / name / "golden.txt", directory.string() + "\n");
    });
  }
}

}  // namespace
}  // namespace qdqbert
