// The shipped model's answers as recorded bits: from its files and a few texts to logits, the same on every
// processor and instruction set.
//
// The digests are the SHA-256 of the outputs' bytes (little-endian float32), recorded on x86-64 where
// ref, avx2, avxvnni and avx512vnni agreed. They change with models/minilm-l6-squad-qat, with the texts
// below and with the definition of the arithmetic (rows_generic.inc, what the exporter writes):
// then take the new ones from the message of the failing test, when all instruction sets print
// the same. Otherwise a difference is a fault.
#include <map>

#include <gtest/gtest.h>

#include "qdqbert/base/sha256.h"
#include "qdqbert/engine/session.h"
#include "qdqbert/io/bert_config.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/onnx/bert_graph.h"
#include "qdqbert/onnx/writer.h"
#include "qdqbert/text/encoding.h"

#include "tests/engine/machine_isas.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::engine {
namespace {

namespace fs = std::filesystem;

/// Of output_start_logits and output_end_logits.
constexpr const char* kDigests[] = {"f3eccb9eeaa31cf378ceb377400b454dcd20b3f9734092d282910b2e43437c51",
                                    "d08871e6491fe1c856baf6d566d7c9f0a26983e7107b77a841397bac160c2910"};

fs::path directory() {
  return fs::path(QDQBERT_SOURCE_DIR) / "models" / "minilm-l6-squad-qat";
}

std::string digest_of(std::span<const float> values) {
  return sha256({reinterpret_cast<const char*>(values.data()), values.size_bytes()});
}

/// The model's files as the graph writer wants them; weights are stored in half precision.
class ShippedModel {
 public:
  onnx::BertSource source() {
    const io::BertConfig config = io::read_config(directory() / "config.json");
    onnx::BertSource source;
    source.layers = config.num_hidden_layers;
    source.hidden_size = config.hidden_size;
    source.head_size = config.head_size();
    source.max_positions = config.max_position_embeddings;
    source.layer_norm_eps = config.layer_norm_eps;
    source.weight = [this](const std::string& key) {
      const TensorView& stored = file_.at(key);
      const auto [found, added] = weights_.try_emplace(key);
      if (added) found->second = make_tensor(stored.shape, std::span<const float>(to_float32(stored)));
      return found->second.view();
    };
    source.quantizer = [this](const std::string& path) {
      onnx::QuantizerRange range;
      const TensorView* amax = file_.find(path + "._amax");
      if (!amax) return range;
      range.enabled = true;
      range.amax = to_float32(*amax);
      range.per_channel = !amax->shape.empty();
      return range;
    };
    return source;
  }

 private:
  io::SafetensorsFile file_ = io::SafetensorsFile::open(directory() / "model.safetensors");
  std::map<std::string, OwnedTensor> weights_;
};

/// Questions with their contexts, packed: lengths on both sides of what tiles are multiples of.
struct Questions {
  std::vector<int32_t> ids, types;
  std::vector<uint32_t> offsets = {0};
};

Questions questions() {
  const std::vector<std::string> asked = {"Where was it built?", "How many bits has a code?", "Who?"};
  const std::vector<std::string> contexts = {
      "The first of the two towers was built in Na\u00efve-sur-Mer between 1889 and 1891; its twin, forty "
      "metres taller, "
      "followed only after the war.",
      "Weights and activations become integers of eight bits, sums have thirty-two.", "She did."};
  const text::Batch batch = text::encode(text::Tokenizer::from_directory(directory()), asked, contexts, {});
  Questions packed;
  for (const text::Encoding& feature : batch.features) {
    packed.ids.insert(packed.ids.end(), feature.ids.begin(), feature.ids.end());
    packed.types.insert(packed.types.end(), feature.type_ids.begin(), feature.type_ids.end());
    packed.offsets.push_back(static_cast<uint32_t>(packed.ids.size()));
  }
  return packed;
}

TEST(ShippedModelBits, AreTheRecordedOnesOnEveryProcessor) {
  const ScratchDirectory scratch;
  const fs::path file = scratch.path() / "model.onnx";
  ShippedModel model;
  onnx::write_model(onnx::build_bert_graph(model.source(), {}), file);

  const Questions packed = questions();
  for (const Isa isa : machine_isas()) {
    SCOPED_TRACE(std::string(name_of(isa)));
    SessionOptions options;
    options.isa = isa;
    options.threads = 2;
    const Session session(file, options);
    ASSERT_TRUE(session.bit_exact());
    const std::vector<Output> outputs = session.run(PackedTexts{packed.ids, packed.types, packed.offsets});
    ASSERT_EQ(outputs.size(), std::size(kDigests));
    for (size_t o = 0; o < outputs.size(); ++o)
      EXPECT_EQ(digest_of(outputs[o].values), kDigests[o]) << outputs[o].name;
  }
}

}  // namespace
}  // namespace qdqbert::engine
