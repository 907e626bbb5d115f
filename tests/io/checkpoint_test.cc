#include "qdqbert/io/checkpoint.h"

#include <cmath>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/io/safetensors.h"

#include "tests/io/archive_builder.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::io {
namespace {

namespace fs = std::filesystem;

const std::vector<float> kValues = {0.1f, -2.5f, 3e-6f, 70000.0f};

void write_one(const fs::path& path, const std::string& name, float value) {
  const OwnedTensor tensor = make_tensor({1}, std::span(&value, 1));
  write_safetensors(path, std::vector<NamedTensor>{{name, tensor.view()}}, {{"format", "pt"}});
}

std::string refusal(const fs::path& path) {
  try {
    Checkpoint::open(path);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(CheckpointTest, PrefersSafetensorsThenShardsThenPickle) {
  const ScratchDirectory scratch;
  const std::string pickle =
      pickle_state_dict({{.name = "from_pickle", .numel = 1, .shape = {1}, .strides = {1}}});
  write_file(scratch / "pytorch_model.bin", torch_file(pickle, {{"0", std::string(4, '\0')}}));
  EXPECT_NE(Checkpoint::open(scratch.path()).find("from_pickle"), nullptr);
  write_one(scratch / "a.safetensors", "one", 1);
  write_one(scratch / "b.safetensors", "two", 2);
  write_file(
      scratch / "model.safetensors.index.json",
      R"({"metadata": {"total_size": 8}, "weight_map": {"two": "b.safetensors", "one": "a.safetensors"}})");
  const Checkpoint shards = Checkpoint::open(scratch.path());
  EXPECT_EQ(shards.tensors().size(), 2u);
  EXPECT_EQ(to_float32(shards.at("two")), std::vector<float>{2});
  EXPECT_EQ(shards.file(), scratch / "model.safetensors.index.json");
  write_one(scratch / "model.safetensors", "whole", 3);
  EXPECT_NE(Checkpoint::open(scratch.path()).find("whole"), nullptr);
  EXPECT_NE(Checkpoint::open(scratch / "pytorch_model.bin").find("from_pickle"), nullptr);
  EXPECT_NE(Checkpoint::open(scratch / "b.safetensors").find("two"), nullptr);
}

TEST(CheckpointTest, ReadsPickledShards) {
  const ScratchDirectory scratch;
  for (const char* name : {"one", "two"})
    write_file(scratch / (std::string(name) + ".bin"),
               torch_file(pickle_state_dict({{.name = name, .numel = 1, .shape = {1}, .strides = {1}}}),
                          {{"0", std::string(4, '\0')}}));
  write_file(scratch / "pytorch_model.bin.index.json",
             R"({"weight_map": {"one": "one.bin", "two": "two.bin"}})");
  EXPECT_EQ(Checkpoint::open(scratch.path()).tensors().size(), 2u);
}

TEST(CheckpointTest, RefusesWrongIndexFiles) {
  const ScratchDirectory scratch;
  write_one(scratch / "a.safetensors", "one", 1);
  write_one(scratch / "b.safetensors", "one", 2);
  const fs::path index = scratch / "model.safetensors.index.json";
  const auto with = [&](const std::string& map) {
    write_file(index, "{\"weight_map\": " + map + "}");
    return refusal(scratch.path());
  };
  EXPECT_NE(with(R"({"two": "a.safetensors"})").find("which does not have it"), std::string::npos);
  EXPECT_NE(with(R"({"one": "c.safetensors"})").find("which is absent"), std::string::npos);
  EXPECT_NE(with(R"({"one": "../a.safetensors"})").find("not a file name in the same directory"),
            std::string::npos);
  EXPECT_NE(with(R"({"one": "/etc/passwd"})").find("not a file name in the same directory"),
            std::string::npos);
  EXPECT_NE(with(R"({"one": 5})").find("must be a string"), std::string::npos);
  EXPECT_NE(with(R"([])").find("\"weight_map\" must be an object"), std::string::npos);
  EXPECT_NE(with(R"({"one": "a.safetensors", "x": "b.safetensors"})").find("which does not have it"),
            std::string::npos);
}

TEST(CheckpointTest, SaysWhatIsMissing) {
  const ScratchDirectory scratch;
  EXPECT_EQ(refusal(scratch / "nowhere"),
            "[checkpoint] " + (scratch / "nowhere").string() + " does not exist");
  EXPECT_NE(refusal(scratch.path()).find("has neither model.safetensors nor pytorch_model.bin"),
            std::string::npos);
  write_file(scratch / "tf_model.h5", "x");
  EXPECT_NE(refusal(scratch.path()).find("TensorFlow and Flax checkpoints are not read"), std::string::npos);
  EXPECT_NE(refusal(scratch / "tf_model.h5").find("TensorFlow and Flax checkpoints are not read"),
            std::string::npos);
  write_file(scratch / "model.safetensors",
             "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n");
  EXPECT_NE(refusal(scratch.path()).find("Git LFS pointer"), std::string::npos);
}

TEST(CheckpointTest, SavesWhatItLoads) {
  const ScratchDirectory scratch;
  const std::vector<int64_t> ids = {1, 2, 3};
  const OwnedTensor weight = make_tensor({2, 2}, kValues), count = make_tensor({3}, ids);
  const std::vector<NamedTensor> tensors = {
      {"w", weight.view()}, {"q._amax", weight.view()}, {"ids", count.view()}};
  save_checkpoint(scratch / "new/deep", tensors, BertConfig());
  const Checkpoint loaded = Checkpoint::open(scratch / "new/deep");
  EXPECT_EQ(to_float32(loaded.at("w")), kValues);
  EXPECT_EQ(to_int64(loaded.at("ids")), ids);
  EXPECT_EQ(read_config(scratch / "new/deep/config.json").torch_dtype, "float32");
  EXPECT_EQ(SafetensorsFile::open(loaded.file()).metadata("format"), "pt");
}

TEST(CheckpointTest, SavesHalfPrecisionButKeepsRanges) {
  const ScratchDirectory scratch;
  const OwnedTensor weight = make_tensor({2, 2}, kValues);
  const std::vector<NamedTensor> tensors = {{"w", weight.view()}, {"q._amax", weight.view()}};
  save_checkpoint(scratch / "bf16", tensors, BertConfig(), {SaveDType::kBFloat16});
  const Checkpoint loaded = Checkpoint::open(scratch / "bf16");
  EXPECT_EQ(loaded.at("w").dtype, DType::kBF16);
  EXPECT_EQ(loaded.at("q._amax").dtype, DType::kF32);
  EXPECT_EQ(to_float32(loaded.at("q._amax")), kValues);
  const std::vector<float> widened = to_float32(loaded.at("w"));
  for (size_t i = 0; i < kValues.size(); ++i) EXPECT_NEAR(widened[i], kValues[i], std::abs(kValues[i]) / 256);
  EXPECT_EQ(read_config(scratch / "bf16/config.json").torch_dtype, "bfloat16");

  EXPECT_THROW(save_checkpoint(scratch / "f16", tensors, BertConfig(), {SaveDType::kFloat16}), InputError)
      << "70000 overflows";
  EXPECT_FALSE(fs::exists(scratch / "f16/model.safetensors"));
  // A half checkpoint written as float32 holds the widened values.
  save_checkpoint(scratch / "wide", loaded.tensors(), BertConfig());
  EXPECT_EQ(to_float32(Checkpoint::open(scratch / "wide").at("w")), widened);
}

TEST(CheckpointTest, EveryShippedModelLoads) {
  int models = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(QDQBERT_SOURCE_DIR) / "models")) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    ++models;
    const BertConfig config = read_config(entry.path() / "config.json");
    const Checkpoint checkpoint = Checkpoint::open(entry.path());
    const TensorView& words = checkpoint.at("bert.embeddings.word_embeddings.weight");
    EXPECT_EQ(words.shape, (Shape{config.vocab_size, config.hidden_size}));
    for (const float value : to_float32(words)) ASSERT_TRUE(std::isfinite(value));
  }
  EXPECT_GT(models, 0);
}

TEST(CheckpointTest, NamesOfSavedTypes) {
  EXPECT_EQ(parse_save_dtype("f16"), SaveDType::kFloat16);
  EXPECT_EQ(parse_save_dtype("bfloat16"), SaveDType::kBFloat16);
  EXPECT_EQ(parse_save_dtype("fp32"), SaveDType::kFloat32);
  EXPECT_THROW(parse_save_dtype("int8"), UsageError);
}

}  // namespace
}  // namespace qdqbert::io
