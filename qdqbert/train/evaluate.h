// Running a question-answering model over features, and scoring the answers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/log.h"
#include "qdqbert/model/bert_model.h"
#include "qdqbert/tasks/squad_features.h"
#include "qdqbert/tasks/squad_postprocess.h"

namespace qdqbert::train {

/// Inputs of features `rows`, each padded to `width` columns: input_ids, attention_mask, token_type_ids int64
/// [rows, width].
model::ModelInputs batch_of(const tasks::SquadFeatures& features, std::span<const size_t> rows, size_t width);

/// Start and end logits of all features, one run after the other.
struct SquadLogits {
  std::vector<size_t> begin;  ///< of each feature; one more at the end
  std::vector<float> start, end;
  std::vector<tasks::FeatureLogits> rows() const;
};

/// True when no enabled quantizer takes its range from the batch at hand, so that results do not depend on
/// padding and on which features share a batch.
bool has_fixed_ranges(const model::PreTrainedModel& model);

/// With fixed ranges features are grouped by length, padded to the longest of a batch only and as many at a
/// time as fill batch_size rows of full width; logits cover real tokens. Otherwise batches are as the
/// original's: in order, batch_size rows, padded to the features' width.
SquadLogits predict_logits(model::PreTrainedModel& model, const tasks::SquadFeatures& features,
                           int64_t batch_size, const ProgressSink& progress = {});

struct SquadEvaluation {
  std::vector<tasks::ExampleAnswer> answers;
  Json metrics;  ///< {exact_match, f1} or the v2 metric; null when the examples have no answers to compare
                 ///< with
};

/// Answers from logits, and their scores where `score` is set.
SquadEvaluation evaluate_squad(const std::vector<tasks::SquadExample>& examples,
                               const tasks::SquadFeatures& features, const SquadLogits& logits,
                               const tasks::AnswerOptions& options, bool score);

/// Writes <prefix>_predictions.json, <prefix>_nbest_predictions.json and, for version 2,
/// <prefix>_null_odds.json.
void write_answers(const std::filesystem::path& directory, const std::string& prefix,
                   const std::vector<tasks::SquadExample>& examples, const SquadEvaluation& evaluation,
                   bool version_2);

/// Writes <split>_results.json and updates all_results.json (4 spaces, sorted keys).
void write_results(const std::filesystem::path& directory, const std::string& split, const Json& metrics);

/// The original's console block: "***** eval metrics *****", one aligned line per key.
std::string metrics_block(const std::string& split, const Json& metrics);

}  // namespace qdqbert::train
