// Texts to vectors.
#pragma once

#include <vector>

#include "qdqbert/pipeline/text_task.h"

namespace qdqbert::pipeline {

/// How the states of a text's tokens become one vector.
enum class Pooling {
  kMean,   ///< of all tokens, the special ones included
  kFirst,  ///< the state of [CLS]
};

struct EmbedderOptions {
  Pooling pooling = Pooling::kMean;
  bool normalize = true;  ///< to Euclidean length 1
};

struct Embedding {
  std::vector<float> values;  ///< [H]
  bool truncated = false;     ///< the end of the text was not read
};

class Embedder : public TextTask<TextRequest, Embedding> {
 public:
  explicit Embedder(Pipeline pipeline, const EmbedderOptions& options = {});

  PreparedText prepare(const TextRequest& request) const override;

 private:
  Embedding answer_from(const PreparedText& prepared, std::span<const TextOutput> outputs) const override;

  EmbedderOptions options_;
};

}  // namespace qdqbert::pipeline
