// Texts for an encoder without a head: to calibrate it, and their embeddings.
#pragma once

#include <string>
#include <vector>

#include "qdqbert/tasks/sentence_embedding.h"
#include "qdqbert/tasks/text_rows.h"
#include "qdqbert/train/task_data.h"

namespace qdqbert::train {

class EmbedData : public RowData {
 public:
  /// `texts` has at least one row.
  /// `prompt` stands before each of them already.
  EmbedData(tasks::TextRows texts, tasks::SentenceModel model, const std::string& prompt,
            const TaskContext& context);

  /// Throws InputError: there is nothing that embeddings could be compared with.
  model::ModelInputs batch(std::span<const int64_t> samples, int64_t micro_step) override;
  void begin_evaluation(bool padded) override;
  void collect(std::span<const int64_t> samples, const model::ModelOutputs& outputs) override;
  bool scored() const override { return false; }
  Json metrics() const override { return Json::object(); }
  /// `<prefix>_embeddings.jsonl`: {"id": that of the row, "embedding"}.
  void write_predictions(const std::filesystem::path& directory, const std::string& prefix) const override;

 private:
  tasks::SentenceModel model_;
  size_t prompt_tokens_;  ///< with [CLS]; 0 without a prompt
  std::vector<Json> ids_;
  std::vector<std::vector<float>> embeddings_;
};

}  // namespace qdqbert::train
