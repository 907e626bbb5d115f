// Checkpoints as other people's tools write them: names in wrappers, ranges of another shape, values that are no
// numbers, encoders that are of another model.
#include <cmath>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/command.h"
#include "tests/e2e/tiny_model.h"

namespace qdqbert {
namespace {

namespace fs = std::filesystem;
using testing::CommandResult;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::run_command;
using testing::ScratchDirectory;
using Flags = std::vector<std::string>;

class ForeignCheckpoints : public ::testing::Test {
 protected:
  ForeignCheckpoints() : model_(scratch_ / "float"), squad_(scratch_ / "tiny.json") {
    testing::save_tiny_model(model_);
    testing::write_tiny_squad(squad_, 4);
  }

  /// A copy of a checkpoint whose tensors `change` may rename, reshape or fill.
  template <class Change>
  std::string changed(const std::string& from, const std::string& name, const Change& change) const {
    const io::Checkpoint checkpoint = io::Checkpoint::open(from);
    std::vector<std::pair<std::string, OwnedTensor>> owned;
    for (const io::NamedTensor& item : checkpoint.tensors()) {
      std::vector<float> values = to_float32(item.tensor);
      std::string own_name = item.name;
      Shape shape = item.tensor.shape;
      change(own_name, shape, values);
      owned.emplace_back(own_name, make_tensor(shape, std::span<const float>(values)));
    }
    std::vector<io::NamedTensor> views;
    for (const auto& [own_name, tensor] : owned) views.push_back({own_name, tensor.view()});
    const fs::path to = scratch_.path() / name;
    fs::create_directories(to);
    for (const auto& entry : fs::directory_iterator(from))
      if (entry.path().filename() != "model.safetensors")
        fs::copy(entry.path(), to / entry.path().filename());
    const io::BertConfig config = io::read_config(fs::path(from) / "config.json");
    io::save_checkpoint(to, views, config);
    return to.string();
  }

  CommandResult qa(const std::string& model, const std::string& output, const Flags& flags) const {
    Flags words = {"qa",
                   "--model_name_or_path",
                   model,
                   "--output_dir",
                   scratch_ / output,
                   "--threads",
                   "1",
                   "--max_seq_length",
                   "64",
                   "--doc_stride",
                   "16"};
    words.insert(words.end(), flags.begin(), flags.end());
    return run_command(words);
  }
  std::string exported(const std::string& model, const std::string& output,
                       const Flags& flags = {"--quant-disable"}) {
    Flags all = flags;
    all.push_back("--save_onnx");
    const CommandResult result = qa(model, output, all);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.err, Not(HasSubstr("newly initialized"))) << model;
    return read_file(scratch_.path() / output / "model.onnx");
  }
  void expect_refused(const CommandResult& result, const std::string& words) const {
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr(words));
  }

  ScratchDirectory scratch_;
  std::string model_, squad_;
};

TEST_F(ForeignCheckpoints, NamesInWrappersAreTheModelsOwn) {
  const std::string expected = exported(model_, "plain");
  for (const std::string wrapper : {"module.", "_orig_mod.", "model.", "module._orig_mod."}) {
    const std::string wrapped =
        changed(model_, "in-" + wrapper,
                [&](std::string& name, Shape&, std::vector<float>&) { name = wrapper + name; });
    EXPECT_EQ(exported(wrapped, "out-" + wrapper), expected) << wrapper;
  }
}

TEST_F(ForeignCheckpoints, ARandomEncoderIsAskedFor) {
  const std::string other =
      changed(model_, "other", [](std::string& name, Shape&, std::vector<float>&) { name = "net." + name; });
  const Flags evaluation = {"--do_eval", "--validation_file", squad_, "--quant-disable"};
  expect_refused(qa(other, "refused", evaluation), "--allow_random_encoder");
  EXPECT_FALSE(fs::exists(scratch_.path() / "refused/eval_predictions.json"));
  Flags allowed = evaluation;
  allowed.push_back("--allow_random_encoder");
  const CommandResult result = qa(other, "allowed", allowed);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("more"));
  EXPECT_LT(result.err.size(), 3000u);
}

TEST_F(ForeignCheckpoints, AScalarRangeMayHaveOneElement) {
  const std::string calibrated = scratch_ / "calibrated";
  ASSERT_EQ(qa(model_, "calibrated", {"--do_calib", "--train_file", squad_, "--num_calib_samples", "4"}).code,
            0);
  const std::string reshaped =
      changed(calibrated, "reshaped", [](std::string& name, Shape& shape, std::vector<float>& values) {
        if (name.ends_with("_amax")) shape = {static_cast<int64_t>(values.size())};
      });
  EXPECT_EQ(exported(reshaped, "out", {}), exported(calibrated, "expected", {}));
  const CommandResult mean =
      run_command({"average", "--models", calibrated, reshaped, "--output_dir", scratch_ / "mean"});
  EXPECT_EQ(mean.code, 0) << mean.err;
  EXPECT_EQ(exported(scratch_ / "mean", "of-mean", {}), exported(calibrated, "expected", {}));
}

TEST_F(ForeignCheckpoints, ValuesThatAreNoNumbersAreNamed) {
  const std::string tensor = "bert.encoder.layer.1.output.dense.weight";
  const std::string nan =
      changed(model_, "nan", [&](const std::string& name, Shape&, std::vector<float>& values) {
        if (name == tensor) values[5] = NAN;
      });
  for (const Flags& flags : {Flags{"--do_eval", "--validation_file", squad_}, Flags{"--save_onnx"}})
    expect_refused(qa(nan, "out", flags), tensor);
  ASSERT_EQ(qa(model_, "calibrated", {"--do_calib", "--train_file", squad_, "--num_calib_samples", "4"}).code,
            0);
  const std::string range = "bert.encoder.layer.0.intermediate.dense._input_quantizer._amax";
  for (const float value : {INFINITY, static_cast<float>(NAN), -1.0f}) {
    const std::string bad = changed(scratch_ / "calibrated", fmt::format("range{}", value),
                                    [&](const std::string& name, Shape&, std::vector<float>& values) {
                                      if (name == range) values[0] = value;
                                    });
    expect_refused(qa(bad, "out", {"--do_eval", "--validation_file", squad_}), range);
    expect_refused(qa(bad, "out", {"--save_onnx"}), range);
  }
}

}  // namespace
}  // namespace qdqbert
