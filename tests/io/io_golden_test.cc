#include <algorithm>
#include <cstring>
#include <filesystem>

#include <gtest/gtest.h>

#include "qdqbert/base/file.h"
#include "qdqbert/io/bert_config.h"
#include "qdqbert/io/checkpoint.h"
#include "qdqbert/io/safetensors.h"

#include "tests/io/scratch_directory.h"
#include "tests/support/golden.h"

namespace qdqbert::io {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> golden_safetensors() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(testing::golden_dir()))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string data_of(const std::string& file) {
  uint64_t header = 0;
  std::memcpy(&header, file.data(), 8);
  return file.substr(8 + header);
}

TEST(IoGoldenTest, WritesSafetensorsBackByteForByte) {
  const ScratchDirectory scratch;
  testing::GoldenFamily family("safetensors round trip");
  for (const fs::path& path : golden_safetensors())
    family.run(fs::relative(path, testing::golden_dir()).string(), [&] {
      const SafetensorsFile file = SafetensorsFile::open(path);
      write_safetensors(scratch / "copy", file.tensors(), file.metadata());
      std::string original = read_file(path), copy = read_file(scratch / "copy");
      // An empty metadata object is the one thing that the reader does not keep; from there on compare the
      // bytes alone.
      if (original.compare(8, 18, "{\"__metadata__\":{}") == 0) {
        original = data_of(original);
        copy = data_of(copy);
      }
      EXPECT_TRUE(original == copy) << original.size() << " bytes, " << copy.size() << " written";
    });
}

TEST(IoGoldenTest, WritesConfigurationsBackByteForByte) {
  testing::GoldenFamily family("config round trip");
  for (const auto& entry : fs::recursive_directory_iterator(testing::golden_dir())) {
    if (entry.path().filename() != "config.json") continue;
    family.run(fs::relative(entry.path(), testing::golden_dir()).string(), [&] {
      const Json fields = read_json(entry.path());
      const BertConfig config = read_config(entry.path());
      if (fields.at("model_type") == "qdqbert") {
        const std::string text = dump_json(to_json(config), {.final_newline = true});
        EXPECT_EQ(text, read_file(entry.path()));
      } else {
        for (const auto& [key, value] : fields.items()) {
          if (key != "model_type") {
            EXPECT_EQ(to_json(config).at(key), value) << key;
          }
        }
      }
    });
  }
}

TEST(IoGoldenTest, ReadsPickledCheckpoints) {
  testing::GoldenFamily family("pickled checkpoints");
  for (const auto& entry : fs::recursive_directory_iterator(testing::golden_dir())) {
    if (entry.path().filename() != "pytorch_model.bin") continue;
    family.run(fs::relative(entry.path(), testing::golden_dir()).string(), [&] {
      const fs::path directory = entry.path().parent_path();
      const Checkpoint checkpoint = Checkpoint::open(directory);
      const BertConfig config = read_config(directory / "config.json");
      const TensorView& words = checkpoint.at("bert.embeddings.word_embeddings.weight");
      EXPECT_EQ(words.shape, (Shape{config.vocab_size, config.hidden_size}));
      // Where the same model was also saved as safetensors (the directory's name without "_bin"), all bytes
      // agree.
      const std::string name = directory.string();
      if (name.size() < 4 || name.substr(name.size() - 4) != "_bin") return;
      const Checkpoint twin = Checkpoint::open(name.substr(0, name.size() - 4));
      EXPECT_EQ(twin.tensors().size(), checkpoint.tensors().size());
      for (const auto& [key, tensor] : twin.tensors()) {
        const TensorView& other = checkpoint.at(key);
        EXPECT_EQ(other.shape, tensor.shape) << key;
        EXPECT_TRUE(std::ranges::equal(other.data, tensor.data)) << key;
      }
    });
  }
}

}  // namespace
}  // namespace qdqbert::io
