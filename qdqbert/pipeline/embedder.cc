#include "qdqbert/pipeline/embedder.h"

#include <cmath>

namespace qdqbert::pipeline {

Embedder::Embedder(Pipeline pipeline, const EmbedderOptions& options)
    : TextTask(std::move(pipeline), TaskKind::kEmbed, "last_hidden_state", true, kAnyTokens),
      options_(options) {}

PreparedText Embedder::prepare(const TextRequest& request) const {
  return encode_text(pipeline(), request, EmptyText::kAllowed);
}

Embedding Embedder::answer_from(const PreparedText& prepared, std::span<const TextOutput> outputs) const {
  const TextOutput& states = outputs[0];
  std::vector<double> sum(states.columns, 0.0);
  const size_t rows = options_.pooling == Pooling::kFirst ? 1 : states.rows;
  for (size_t r = 0; r < rows; ++r)
    for (size_t j = 0; j < states.columns; ++j) sum[j] += double{states.row(r)[j]};
  double square = 0;
  for (double& value : sum) {
    value /= static_cast<double>(rows);
    square += value * value;
  }
  const double length = options_.normalize && square > 0 ? std::sqrt(square) : 1.0;
  Embedding answer;
  answer.truncated = prepared.truncated;
  for (const double value : sum) answer.values.push_back(static_cast<float>(value / length));
  return answer;
}

}  // namespace qdqbert::pipeline
