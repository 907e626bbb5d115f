// Texts to vectors.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "qdqbert/pipeline/text_task.h"
#include "qdqbert/tasks/sentence_embedding.h"

namespace qdqbert::pipeline {

struct EmbedderOptions {
  /// How states become a vector. Default: as modules.json beside the model says, else their mean, brought to
  /// length 1.
  std::optional<tasks::SentenceModel> sentence{};
  /// Prompt before every text, by its name. Default: the one that the model names; "": none.
  std::optional<std::string> prompt_name{};
  /// Whether vectors that the graph itself has pooled are brought to length 1. Default: unless there is a
  /// modules.json, whose Normalize is in the graph.
  std::optional<bool> normalize_pooled{};
};

struct Embedding {
  std::vector<float> values;
  bool truncated = false;  ///< the end of the text was not read
};

class Embedder : public TextTask<TextRequest, Embedding> {
 public:
  /// Throws InputError where layers of modules.json do not fit the model, UsageError for a prompt that is not
  /// there.
  explicit Embedder(Pipeline pipeline, const EmbedderOptions& options = {});

  PreparedText prepare(const TextRequest& request) const override;

 private:
  Embedding answer_from(const PreparedText& prepared, std::span<const TextOutput> outputs) const override;

  tasks::SentenceModel sentence_;
  std::string prompt_;
  size_t prompt_tokens_ = 0;  ///< with [CLS]; 0 without a prompt
};

}  // namespace qdqbert::pipeline
