#include "qdqbert/tasks/choice_features.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"

namespace qdqbert::tasks {

ChoiceFeatures ChoiceFeatures::build(const ChoiceData& data, const text::Tokenizer& tokenizer, int max_length,
                                     int threads) {
  ChoiceFeatures features;
  std::vector<std::string> first, second;
  for (const ChoiceExample& example : data.examples) {
    features.begin.push_back(first.size());
    for (const std::string& choice : example.choices) {
      first.push_back(example.prompt);
      second.push_back(choice);
    }
  }
  features.begin.push_back(first.size());
  features.rows = encode_rows(tokenizer, first, second, max_length, threads);
  return features;
}

std::vector<ChoicePrediction> choice_predictions(const ChoiceFeatures& features,
                                                 const std::vector<float>& logits) {
  if (logits.size() != features.begin.back())
    fail("[choose] {} choices, {} logits", features.begin.back(), logits.size());
  std::vector<ChoicePrediction> predictions;
  for (size_t e = 0; e + 1 < features.begin.size(); ++e) {
    const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(features.begin[e]);
    const auto end = logits.begin() + static_cast<std::ptrdiff_t>(features.begin[e + 1]);
    if (std::any_of(begin, end, [](float v) { return std::isnan(v); }))
      fail("[choose] the logits of example {} are not numbers", e);
    const auto best = std::max_element(begin, end);
    ChoicePrediction prediction{best - begin, {}};
    double sum = 0;
    for (auto v = begin; v != end; ++v)
      prediction.scores.push_back(std::exp(static_cast<double>(*v) - *best));
    for (const double v : prediction.scores) sum += v;
    for (double& v : prediction.scores) v /= sum;
    predictions.push_back(std::move(prediction));
  }
  return predictions;
}

Json choice_metrics(const ChoiceData& data, const std::vector<ChoicePrediction>& predictions) {
  if (predictions.size() != data.examples.size())
    fail("[metric] {} examples, {} predictions", data.examples.size(), predictions.size());
  if (predictions.empty()) fail("[metric] there is nothing to score");
  double right = 0;
  for (size_t e = 0; e < predictions.size(); ++e) right += data.examples[e].answer == predictions[e].best;
  return {{"accuracy", right / static_cast<double>(predictions.size())}};
}

void write_choice_predictions(const std::filesystem::path& directory, const std::string& prefix,
                              const ChoiceData& data, const std::vector<ChoicePrediction>& predictions) {
  Json by_id = Json::object();
  std::string lines;
  for (size_t e = 0; e < predictions.size(); ++e) {
    const ChoiceExample& example = data.examples[e];
    const std::vector<double>& scores = predictions[e].scores;
    by_id[example.id] = predictions[e].best;
    std::vector<size_t> order(scores.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    Json ranked = Json::array();
    for (const size_t c : order)
      ranked.push_back({{"choice", c}, {"text", example.choices[c]}, {"score", scores[c]}});
    const Json line = {{"id", example.id}, {"prompt", example.prompt}, {"ranked", ranked}};
    lines += dump_json(line, {.indent = -1, .ascii = false}) + "\n";
  }
  write_file(directory / (prefix + "_predictions.json"), dump_json(by_id, {4, false, true, true}));
  write_file(directory / (prefix + "_choices.jsonl"), lines);
}

}  // namespace qdqbert::tasks
