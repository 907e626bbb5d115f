#include <algorithm>
#include <regex>
#include <set>

#include <gtest/gtest.h>

#include "tests/model/model_case.h"
#include "tests/model/range_judge.h"
#include "tests/support/golden.h"

namespace qdqbert::model {
namespace {

namespace fs = std::filesystem;
using testing::difference;
using testing::tensor_of;

// Which quantizers there are, and what the case says of them: name, enabled, bits, axis, range.
void apply_quantizers(PreTrainedModel& model, const Json& rows, bool compare_axis) {
  const std::vector<NamedQuantizer> ours = model.named_quantizers();
  size_t row = 0;
  for (const NamedQuantizer& item : ours) {
    if (row == rows.size() || rows[row][0].get<std::string>() != item.name) {
      // The original loses the quantizers of pruned layers; this model keeps them.
      const bool pruned_linear =
          item.name.find("attention") != std::string::npos && !model.config().pruned_heads.empty() &&
          (item.name.ends_with("._input_quantizer") || item.name.ends_with("_weight_quantizer"));
      ASSERT_TRUE(pruned_linear) << "the original has no " << item.name;
      item.quantizer->disable();
      continue;
    }
    const Json& expected = rows[row++];
    if (!expected[1].get<bool>()) item.quantizer->disable();
    EXPECT_EQ(item.quantizer->num_bits(), expected[2].get<int>()) << item.name;
    const std::vector<int> axis = item.quantizer->axis() ? item.quantizer->axis()->dims : std::vector<int>{};
    if (compare_axis) {
      EXPECT_EQ(axis, expected[3].is_null() ? std::vector<int>{} : expected[3].get<std::vector<int>>())
          << item.name;
    }
  }
  EXPECT_EQ(row, rows.size()) << "module order differs, or a quantizer is missing";
}

void load_ranges(PreTrainedModel& model, const io::SafetensorsFile& ranges) {
  for (const NamedQuantizer& item : model.named_quantizers()) {
    const TensorView* amax = ranges.find(item.name + "._amax");
    item.quantizer->replace_amax(amax ? testing::placed(*amax) : at::Tensor());
  }
}

ForwardOptions options_of(const Json& flags) {
  ForwardOptions options;
  options.output_attentions = options.output_hidden_states = true;
  for (const auto& [key, value] : flags.items()) {
    if (key == "use_cache") options.use_cache = value.get<bool>();
    if (key == "output_attentions") options.output_attentions = value.get<bool>();
    if (key == "output_hidden_states") options.output_hidden_states = value.get<bool>();
  }
  return options;
}

void run_calls(PreTrainedModel& model, const Json& golden, const Json& run,
               const io::SafetensorsFile& io_file) {
  const at::NoGradGuard no_grad;
  const double tolerance = run.at("suggested_atol");
  std::vector<ModelOutputs> results;
  for (size_t call = 0; call < golden.at("calls").size(); ++call) {
    const Json& spec = golden.at("calls")[call];
    const std::string name = "call" + std::to_string(call);
    ModelInputs inputs = testing::inputs_of(io_file, name + ".input.");
    ForwardOptions options = options_of(spec.at("flags"));
    if (!spec.at("past_key_values_from_call").is_null()) {
      inputs.past_key_values = results.at(spec.at("past_key_values_from_call").get<size_t>()).past_key_values;
      options.original_relative_distances = true;  // M2: only with a cache do the two conventions differ
    }
    results.push_back(model.forward(inputs, options));
    const std::string prefix = run.at("run").get<std::string>() + "." + name + ".";
    size_t compared = 0;
    for (const io::NamedTensor& item : io_file.tensors()) {
      if (!item.name.starts_with(prefix)) continue;
      const at::Tensor ours = testing::output_of(results.back(), item.name.substr(prefix.size()));
      EXPECT_EQ(difference(ours, tensor_of(item.tensor), tolerance), "") << item.name;
      ++compared;
    }
    EXPECT_GT(compared, 0U) << prefix << " has no outputs";
    if (run.at("losses").contains(name)) {
      const double expected = testing::number_of(run.at("losses").at(name));
      EXPECT_EQ(difference(results.back().loss, at::scalar_tensor(expected, at::kDouble), tolerance), "")
          << prefix;
    }
  }
}

// A pruned case has the weights after pruning but the configuration before. Which heads went does not matter
// any more.
void prune_to_fit(PreTrainedModel& model, const io::Checkpoint& checkpoint) {
  std::map<int64_t, std::set<int64_t>> pruned;
  const int64_t head_size = model.config().head_size();
  for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) {
    const std::string name =
        fmt::format("{}encoder.layer.{}.attention.self.query.weight", model.base_prefix(), layer);
    const TensorView* query = checkpoint.find(name);
    const int64_t missing = query ? model.config().num_attention_heads - query->shape.at(0) / head_size : 0;
    for (int64_t head = 0; head < missing; ++head) pruned[layer].insert(head);
  }
  if (!pruned.empty()) model.prune_heads(pruned);
}

void run_run(const fs::path& directory, const Json& golden, const Json& run) {
  SCOPED_TRACE(run.at("run").get<std::string>());
  const auto io_file = io::SafetensorsFile::open(directory / "io.safetensors");
  const std::string build = run.at("build_options");
  const auto make_on = [&](at::Device device) {
    auto model = make_model(golden.at("class").get<std::string>(), io::read_config(directory / "config.json"),
                            testing::defaults_of(build));
    const auto checkpoint = io::Checkpoint::open(directory / golden.at("weights_file").get<std::string>());
    prune_to_fit(*model, checkpoint);
    const io::LoadReport report = load_weights(*model, checkpoint);
    EXPECT_TRUE(report.missing.empty());
    EXPECT_TRUE(report.unexpected.empty());
    testing::move_to(*model, device);
    return model;
  };
  const auto make = [&] { return make_on(testing::test_device()); };
  const bool calibrated = run.at("calibrated");
  const std::string configure =
      run.at("configure_options").is_null() ? "" : run.at("configure_options").get<std::string>();
  const bool in_words = !configure.empty() && !configure.starts_with("--");
  std::optional<io::SafetensorsFile> ranges;
  if (calibrated) {
    ranges = io::SafetensorsFile::open(directory / run.at("amax_file").get<std::string>());
    if (configure.empty()) {
      const auto model = make();
      testing::calibrate(*model, io_file, build);
      testing::expect_ranges(*model, *model, *ranges, {make_on, io_file, testing::request_of(build)});
    }
  }
  const auto model = make();
  if (run.contains("changes_weights")) {
    const std::string text = run.at("changes_weights");
    std::smatch found;
    ASSERT_TRUE(std::regex_search(text, found, std::regex(R"(\* ([0-9.]+))"))) << text;
    const at::NoGradGuard no_grad;
    for (const NamedLinear& item : model->named_quant_linears())
      item.linear->weight.mul_(std::stod(found[1]));
  }
  if (ranges) load_ranges(*model, *ranges);
  ASSERT_NO_FATAL_FAILURE(apply_quantizers(*model, run.at("quantizers"), !in_words));
  run_calls(*model, golden, run, io_file);
  // Weights are quantized once for many calls: the second round reads them from there.
  run_calls(*model, golden, run, io_file);
}

TEST(ModelGolden, Cases) {
  QDQBERT_NEED_TEST_DEVICE();
  testing::GoldenFamily family("model");
  std::vector<fs::path> directories;
  for (const auto& entry : fs::directory_iterator(testing::golden_dir() / "model")) {
    if (fs::exists(entry.path() / "case.json")) directories.push_back(entry.path());
  }
  std::sort(directories.begin(), directories.end());
  for (const fs::path& directory : directories) {
    family.run(directory.filename().string(), [&] {
      const Json golden = read_json(directory / "case.json");
      for (const Json& run : golden.at("runs")) run_run(directory, golden, run);
    });
  }
}

}  // namespace
}  // namespace qdqbert::model
