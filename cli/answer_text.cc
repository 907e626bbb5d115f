#include "cli/answer_text.h"

#include <algorithm>

namespace qdqbert::cli {

namespace {

Json candidate_json(const tasks::Candidate& candidate) {
  return {{"answer", candidate.placeholder ? "" : candidate.text},
          {"score", candidate.placeholder ? 0.0 : candidate.probability},
          {"start", candidate.span.begin},
          {"end", candidate.span.end}};
}

}  // namespace

Json answer_json(const tasks::ExampleAnswer& answer, const tasks::AnswerOptions& options, int64_t n_best) {
  const auto& list = answer.n_best;
  auto chosen = list.begin();
  if (options.version_2)
    chosen = std::find_if(list.begin(), list.end(), [&](const tasks::Candidate& candidate) {
      return !candidate.placeholder && candidate.text == answer.text;
    });
  Json json = candidate_json(chosen == list.end() ? tasks::Candidate{"", 0, 0, 0, true, {0, 0}} : *chosen);
  if (options.version_2) json["null_odds"] = answer.null_odds;
  if (n_best == 1) return json;
  json["n_best"] = Json::array();
  for (size_t i = 0; i < std::min(list.size(), static_cast<size_t>(n_best)); ++i)
    if (!list[i].placeholder) json["n_best"].push_back(candidate_json(list[i]));
  return json;
}

}  // namespace qdqbert::cli
