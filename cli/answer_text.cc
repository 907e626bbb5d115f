#include "cli/answer_text.h"

#include <algorithm>

namespace qdqbert::cli {

namespace {

Json candidate_json(const pipeline::AnswerCandidate& candidate) {
  return {{"answer", candidate.text},
          {"score", candidate.score},
          {"start", candidate.place.begin},
          {"end", candidate.place.end}};
}

}  // namespace

Json answer_json(const pipeline::Answer& answer, int64_t n_best) {
  Json json = candidate_json(answer.best);
  if (answer.null_odds) json["null_odds"] = *answer.null_odds;
  if (n_best == 1) return json;
  json["n_best"] = Json::array();
  for (size_t i = 0; i < std::min(answer.candidates.size(), static_cast<size_t>(n_best)); ++i)
    json["n_best"].push_back(candidate_json(answer.candidates[i]));
  return json;
}

}  // namespace qdqbert::cli
