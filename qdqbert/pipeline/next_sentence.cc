#include "qdqbert/pipeline/next_sentence.h"

#include "qdqbert/pipeline/text_scores.h"

namespace qdqbert::pipeline {

NextSentence::NextSentence(Pipeline pipeline)
    : TextTask(std::move(pipeline), TaskKind::kNextSentence, "logits", false, kAnyTokens) {
  if (model().columns() != 2)
    fail("[model] {} gives {} scores for a text, next-sentence prediction needs 2", this->pipeline().name(),
         model().columns());
}

PreparedText NextSentence::prepare(const SentencePair& request) const {
  return encode_text(pipeline(), {request.first, request.second});
}

NextSentenceAnswer NextSentence::answer_from(const PreparedText& prepared,
                                             std::span<const TextOutput> outputs) const {
  // Label 0 of the pre-training task means that the second text does follow.
  const std::vector<double> scores = softmax(outputs[0].row(0));
  return {scores.at(0) >= scores.at(1), scores[0], prepared.truncated};
}

}  // namespace qdqbert::pipeline
