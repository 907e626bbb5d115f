#include <algorithm>
#include <cstring>
#include <filesystem>

#include <gtest/gtest.h>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/io/bert_config.h"
#include "qdqbert/io/checkpoint.h"
#include "qdqbert/io/name_map.h"
#include "qdqbert/io/safetensors.h"

#include "tests/support/golden.h"
#include "tests/support/scratch_directory.h"

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
      // An empty metadata object is the one thing that the reader does not keep;
      // from there on compare the bytes alone.
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
      const TensorView* words = nullptr;
      for (const char* prefix : {"bert.", ""})
        if (!words) words = checkpoint.find(std::string(prefix) + "embeddings.word_embeddings.weight");
      ASSERT_NE(words, nullptr);
      EXPECT_EQ(words->shape, (Shape{config.vocab_size, config.hidden_size}));
      // Where the same model was also saved as safetensors (the directory's
      // name without "_bin"), all bytes agree.
      const std::string name = directory.string();
      if (name.size() < 4 || name.substr(name.size() - 4) != "_bin") return;
      const fs::path twin_directory = name.substr(0, name.size() - 4);
      if (!fs::is_directory(twin_directory)) return;
      const Checkpoint twin = Checkpoint::open(twin_directory);
      for (const auto& [key, tensor] : twin.tensors()) {
        const TensorView& other = checkpoint.at(key);
        EXPECT_EQ(other.shape, tensor.shape) << key;
        EXPECT_TRUE(std::ranges::equal(other.data, tensor.data)) << key;
      }
    });
  }
}

/// State dict of a class, written down from the description of the original rather than taken from our model.
ModelNames names_of(const std::string& class_name, const BertConfig& c) {
  ModelNames names;
  names.class_name = class_name;
  const std::string base = class_name == "QDQBertModel" ? "" : "bert.";
  const int64_t h = c.hidden_size, all = c.num_attention_heads * c.head_size();
  const auto add = [&](const std::string& name, Shape shape) {
    names.tensors.push_back({name, std::move(shape)});
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  };
  const auto quantized = [&](const std::string& name, int64_t out, int64_t in) {
    linear(name, out, in);
    for (const char* quantizer : {"._input_quantizer", "._weight_quantizer"})
      names.quantizers.push_back(name + quantizer);
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {h});
    add(name + ".bias", {h});
  };
  add(base + "embeddings.word_embeddings.weight", {c.vocab_size, h});
  add(base + "embeddings.position_embeddings.weight", {c.max_position_embeddings, h});
  add(base + "embeddings.token_type_embeddings.weight", {c.type_vocab_size, h});
  norm(base + "embeddings.LayerNorm");
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string layer = fmt::format("{}encoder.layer.{}.", base, i);
    for (const char* part : {"query", "key", "value"}) quantized(layer + "attention.self." + part, all, h);
    for (const char* part : {"q", "k", "v", "a"})
      names.quantizers.push_back(layer + "attention.self.matmul_" + part + "_input_quantizer");
    const PositionEmbedding position = c.position_embedding();
    if (position == PositionEmbedding::kRelativeKey || position == PositionEmbedding::kRelativeKeyQuery)
      add(layer + "attention.self.distance_embedding.weight",
          {2 * c.max_position_embeddings - 1, c.head_size()});
    quantized(layer + "attention.output.dense", h, all);
    quantized(layer + "intermediate.dense", c.intermediate_size, h);
    quantized(layer + "output.dense", h, c.intermediate_size);
    for (const char* block : {"attention.output", "output"}) {
      norm(layer + block + ".LayerNorm");
      for (const char* part : {".add_local_input_quantizer", ".add_residual_input_quantizer"})
        names.quantizers.push_back(layer + block + part);
    }
  }
  const bool language = class_name == "QDQBertForMaskedLM" || class_name == "QDQBertLMHeadModel";
  if (!language && class_name != "QDQBertForQuestionAnswering" &&
      class_name != "QDQBertForTokenClassification")
    linear(base + "pooler.dense", h, h);
  if (language) {
    linear("cls.predictions.transform.dense", h, h);
    norm("cls.predictions.transform.LayerNorm");
    linear("cls.predictions.decoder", c.vocab_size, h);
    add("cls.predictions.bias", {c.vocab_size});
    names.tied = {{"bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"},
                  {"cls.predictions.bias", "cls.predictions.decoder.bias"}};
  } else if (class_name == "QDQBertForNextSentencePrediction") {
    linear("cls.seq_relationship", 2, h);
  } else if (class_name == "QDQBertForQuestionAnswering") {
    linear("qa_outputs", c.num_labels(), h);
  } else if (class_name != "QDQBertModel") {
    linear("classifier", class_name == "QDQBertForMultipleChoice" ? 1 : c.num_labels(), h);
  }
  return names;
}

std::vector<std::string> strings(const Json& list) {
  return list.get<std::vector<std::string>>();
}

TEST(IoGoldenTest, ReportsWhatTheOriginalReports) {
  testing::GoldenFamily family("load reports");
  const fs::path directory = testing::golden_dir() / "model/checkpoints";
  const Json recorded = read_json(directory / "checkpoints.json");
  for (const Json& example : recorded.at("cases")) {
    if (!example.contains("directory")) continue;  // the refusal on a machine without CUDA, which is not ours
    family.run(example.at("name").get<std::string>(), [&] {
      const fs::path from = directory / example.at("directory").get<std::string>();
      Json fields = read_json(from / "config.json");
      fields.update(example.at("config_changes"));
      const BertConfig config = parse_config(fields, "changed config");
      const Checkpoint checkpoint = Checkpoint::open(from);
      const ModelNames names = names_of(example.at("class").get<std::string>(), config);
      if (example.contains("exception")) {
        EXPECT_THROW(plan_load(checkpoint.tensors(), names), InputError);
        return;
      }
      const LoadReport report = plan_load(checkpoint.tensors(), names, true).report;
      EXPECT_EQ(report.missing, strings(example.at("missing_keys")));
      std::vector<std::string> unexpected = report.unexpected;
      unexpected.insert(unexpected.end(), report.ranges.begin(), report.ranges.end());
      std::sort(unexpected.begin(), unexpected.end());
      EXPECT_EQ(unexpected, strings(example.at("unexpected_keys")));
      Json mismatched = Json::array();
      for (const auto& [name, in_checkpoint, in_model] : report.mismatched)
        mismatched.push_back({name, in_checkpoint, in_model});
      EXPECT_EQ(mismatched, example.at("mismatched_keys"));
      const Json& after = example.at("config_after_load");
      EXPECT_EQ(config.model_type, after.at("model_type").get<std::string>());
      EXPECT_EQ(config.pad_token_id, after.at("pad_token_id").get<int64_t>());
      EXPECT_EQ(config.bos_token_id, after.at("bos_token_id").get<int64_t>());
      EXPECT_EQ(config.eos_token_id, after.at("eos_token_id").get<int64_t>());
      EXPECT_EQ(config.num_labels(), after.at("num_labels").get<int64_t>());
      EXPECT_EQ(name_of(config.hidden_act), after.at("hidden_act").get<std::string>());
      EXPECT_EQ(config.layer_norm_eps, after.at("layer_norm_eps").get<double>());
      EXPECT_EQ(config.max_position_embeddings, after.at("max_position_embeddings").get<int64_t>());
    });
  }
}

}  // namespace
}  // namespace qdqbert::io
