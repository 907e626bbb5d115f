#include "qdqbert/pipeline/answerer.h"

#include <algorithm>

namespace qdqbert::pipeline {

namespace {

tasks::FeatureOptions windows_of(const Pipeline& pipeline, const QuestionOptions& options) {
  const size_t length = pipeline.max_length(), stride = options.stride.value_or(length / 3);
  if (stride >= length) fail<UsageError>("[qa] windows of {} tokens cannot share {} of them", length, stride);
  tasks::FeatureOptions features;
  features.max_length = static_cast<int>(length);
  features.stride = static_cast<int>(stride);
  features.pad_to_max_length = false;
  features.labels = false;
  return features;
}

}  // namespace

Answerer::Answerer(Pipeline pipeline, const QuestionOptions& options)
    : pipeline_(std::move(pipeline)),
      model_(pipeline_.session(), pipeline_.name()),
      features_(windows_of(pipeline_, options)),
      answers_(options.answers) {}

tasks::SquadFeatures Answerer::features_of(const std::vector<tasks::SquadExample>& examples, int threads,
                                           const ProgressSink& progress) const {
  return tasks::SquadFeatures::build(examples, pipeline_.tokenizer(), features_, threads, progress);
}

std::vector<RowLogits> Answerer::logits_of(const std::vector<FeatureRow>& rows,
                                           const RunControl& control) const {
  std::vector<size_t> lengths;
  for (const FeatureRow& row : rows) lengths.push_back(row.length());
  std::vector<RowLogits> logits(rows.size());
  size_t done = 0;
  for (const std::vector<size_t>& batch :
       batches_by_tokens(lengths, pipeline_.tokens_per_batch(), !model_.session().packed())) {
    control.check();
    std::vector<FeatureRow> together;
    for (const size_t row : batch) together.push_back(rows[row]);
    std::vector<RowLogits> out = model_.run(together);
    for (size_t i = 0; i < batch.size(); ++i) logits[batch[i]] = std::move(out[i]);
    control.report("answering", done += batch.size(), rows.size());
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

const tasks::Candidate* winner_of(const tasks::ExampleAnswer& answer, bool version_2) {
  const auto& list = answer.n_best;
  auto chosen = list.begin();
  if (version_2)
    chosen = std::find_if(list.begin(), list.end(), [&](const tasks::Candidate& candidate) {
      return !candidate.placeholder && candidate.text == answer.text;
    });
  return chosen == list.end() ? nullptr : &*chosen;
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

}  // namespace qdqbert::pipeline
