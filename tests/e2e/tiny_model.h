// A two-layer question-answering model with random weights and a few real questions:
// everything that a whole run needs, in seconds.
#pragma once

#include <filesystem>
#include <string>

#include "qdqbert/base/file.h"
#include "qdqbert/base/json.h"
#include "qdqbert/model/load_weights.h"
#include "qdqbert/text/tokenizer.h"

namespace qdqbert::testing {

inline const std::filesystem::path kShippedModel = QDQBERT_SOURCE_DIR "/models/minilm-l6-squad";

inline io::BertConfig tiny_config() {
  io::BertConfig config = io::read_config(kShippedModel / "config.json");
  config.hidden_size = 32;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.intermediate_size = 64;
  config.max_position_embeddings = 160;
  config.initializer_range = 0.3;  // large enough for answers to differ
  return config;
}

/// A float checkpoint with tokenizer in `directory`.
inline std::shared_ptr<model::PreTrainedModel> save_tiny_model(const std::filesystem::path& directory) {
  const auto built = model::make_model("QDQBertForQuestionAnswering", tiny_config(), {});
  built->init_weights(7);
  std::filesystem::create_directories(directory);
  model::save_model(*built, directory);
  text::Tokenizer::from_directory(kShippedModel).save(directory);
  return built;
}

/// The first `questions` of the shipped calibration set as a SQuAD file. Returns their ids in order.
inline std::vector<std::string> write_tiny_squad(const std::filesystem::path& file, size_t questions) {
  Json squad = read_json(kShippedModel / "calibration-128.json");
  std::vector<std::string> ids;
  for (Json& article : squad.at("data"))
    for (Json& paragraph : article.at("paragraphs")) {
      Json kept = Json::array();
      for (Json& question : paragraph.at("qas")) {
        if (ids.size() == questions) break;
        ids.push_back(question.at("id"));
        kept.push_back(question);
      }
      paragraph["qas"] = kept;
    }
  write_file(file, dump_json(squad));
  return ids;
}

}  // namespace qdqbert::testing
