#include "qdqbert/pipeline/chooser.h"

#include "qdqbert/pipeline/text_scores.h"

namespace qdqbert::pipeline {

Chooser::Chooser(Pipeline pipeline)
    : TextTask(std::move(pipeline), TaskKind::kChoose, "logits", false, kAnyTokens) {}

PreparedText Chooser::prepare(const ChoiceRequest& request) const {
  if (request.choices.size() < 2)
    fail("{} choice{} given, two at least are needed", request.choices.size(),
         request.choices.size() == 1 ? " is" : "s are");
  PreparedText made;
  made.text = request.prompt;
  for (const std::string& choice : request.choices) encode_text(pipeline(), {request.prompt, choice}, made);
  return made;
}

Choice Chooser::answer_from(const PreparedText& prepared, std::span<const TextOutput> outputs) const {
  std::vector<float> logits;
  for (const TextOutput& output : outputs) logits.push_back(output.values.at(0));
  std::vector<double> scores = softmax(logits);
  const size_t best = best_first(scores, 1)[0];
  return {best, std::move(scores), prepared.truncated};
}

}  // namespace qdqbert::pipeline
