#include "cli/answerer.h"

namespace qdqbert::cli {

Answerer::Answerer(const engine::Session& session, std::string name, const text::Tokenizer& tokenizer,
                   const tasks::FeatureOptions& features, const tasks::AnswerOptions& answers,
                   size_t tokens_per_batch)
    : model_(session, std::move(name)),
      tokenizer_(tokenizer),
      features_(features),
      answers_(answers),
      tokens_per_batch_(tokens_per_batch) {}

tasks::SquadFeatures Answerer::features_of(const std::vector<tasks::SquadExample>& examples, int threads,
                                           const ProgressSink& progress) const {
  return tasks::SquadFeatures::build(examples, tokenizer_, features_, threads, progress);
}

std::vector<RowLogits> Answerer::logits_of(const std::vector<FeatureRow>& rows,
                                           const ProgressSink& progress) const {
  std::vector<size_t> lengths;
  for (const FeatureRow& row : rows) lengths.push_back(row.length());
  std::vector<RowLogits> logits(rows.size());
  int64_t done = 0;
  for (const std::vector<size_t>& batch :
       batches_by_tokens(lengths, tokens_per_batch_, !model_.session().packed())) {
    std::vector<FeatureRow> together;
    for (const size_t row : batch) together.push_back(rows[row]);
    std::vector<RowLogits> out = model_.run(together);
    for (size_t i = 0; i < batch.size(); ++i) logits[batch[i]] = std::move(out[i]);
    done += static_cast<int64_t>(batch.size());
    if (progress) progress("answering", done, static_cast<int64_t>(rows.size()));
  }
  return logits;
}

std::vector<tasks::ExampleAnswer> Answerer::choose(const std::vector<tasks::SquadExample>& examples,
                                                   const tasks::SquadFeatures& features,
                                                   std::span<const RowLogits> logits) const {
  std::vector<tasks::FeatureLogits> views;
  for (const RowLogits& row : logits) views.push_back({row.start, row.end});
  return tasks::find_answers(
      examples, features.size(),
      [&](size_t f) {
        tasks::AnswerFeature feature;
        feature.example = features[f].example;
        features.offsets(f, feature.offsets, feature.is_context);
        return feature;
      },
      views, answers_);
}

std::vector<FeatureRow> rows_of(const tasks::SquadFeatures& features) {
  std::vector<FeatureRow> rows;
  for (size_t f = 0; f < features.size(); ++f) rows.push_back({&features, f});
  return rows;
}

tasks::SquadExample example_of(std::string id, std::string question, std::string context) {
  static const auto kNoTitle = std::make_shared<const std::string>();
  return {std::move(id),
          kNoTitle,
          std::make_shared<const std::string>(std::move(context)),
          std::move(question),
          {}};
}

}  // namespace qdqbert::cli
