#include "qdqbert/pipeline/classifier.h"

#include "qdqbert/pipeline/text_scores.h"

namespace qdqbert::pipeline {

Classifier::Classifier(Pipeline pipeline, const ClassifierOptions& options)
    : TextTask(std::move(pipeline), TaskKind::kClassify, "logits", false, kAnyTokens),
      options_(options),
      labels_(labels_for(this->pipeline().facts(), model())),
      kind_(this->pipeline().facts().scores.value_or(labels_.size() == 1 ? ScoreKind::kRegression
                                                                         : ScoreKind::kSingleLabel)) {
  if (options_.top_k == 0) fail<UsageError>("[classify] top_k is 0, an answer has 1 score or more");
}

PreparedText Classifier::prepare(const TextRequest& request) const {
  return encode_text(pipeline(), request);
}

Classification Classifier::answer_from(const PreparedText& prepared,
                                       std::span<const TextOutput> outputs) const {
  const std::span<const float> logits = outputs[0].row(0);
  Classification answer;
  answer.kind = kind_;
  answer.truncated = prepared.truncated;
  if (kind_ == ScoreKind::kRegression) {
    for (size_t i = 0; i < logits.size(); ++i) answer.scores.push_back({i, labels_[i], double{logits[i]}});
    return answer;
  }
  const std::vector<double> scores = kind_ == ScoreKind::kMultiLabel ? sigmoids(logits) : softmax(logits);
  const auto named = [&](size_t i) { return LabelScore{i, labels_[i], scores[i]}; };
  for (const size_t i : best_first(scores, options_.top_k)) answer.scores.push_back(named(i));
  if (kind_ == ScoreKind::kSingleLabel) {
    answer.labels = {answer.scores[0]};
    return answer;
  }
  for (const size_t i : best_first(scores, scores.size()))
    if (scores[i] >= options_.threshold) answer.labels.push_back(named(i));
  return answer;
}

}  // namespace qdqbert::pipeline
