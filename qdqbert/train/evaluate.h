// Running a question-answering model over features, and the files of results.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "qdqbert/base/log.h"
#include "qdqbert/model/bert_model.h"
#include "qdqbert/tasks/squad_evaluation.h"
#include "qdqbert/tasks/squad_features.h"
#include "qdqbert/train/process_group.h"

namespace qdqbert::train {

/// Inputs of features `rows`, each padded to `width` columns: input_ids, attention_mask, token_type_ids int64
/// [rows, width].
model::ModelInputs batch_of(const tasks::SquadFeatures& features, std::span<const size_t> rows, size_t width);

/// True when no enabled quantizer takes its range from the batch at hand, so that results do not depend on
/// padding and on which features share a batch.
bool has_fixed_ranges(const model::PreTrainedModel& model);

/// True when any quantizer that quantizes has a stored range.
bool has_ranges(const model::PreTrainedModel& model);

enum class Products { kFloat32, kBf16 };

/// With fixed ranges, and padding on the right, features are grouped by length, padded to the longest of a
/// batch only and as many at a time as fill batch_size rows of full width; logits cover real tokens.
/// Otherwise batches are as the original's: in order, batch_size rows, padded to the features' width.
/// kBf16 takes products in BF16 (nn/autocast.h). With a group each rank runs every size-th of these batches
/// and all get all logits, the same bits as one process.
tasks::SquadLogits predict_logits(model::PreTrainedModel& model, const tasks::SquadFeatures& features,
                                  int64_t batch_size, const ProgressSink& progress = {},
                                  Products products = Products::kFloat32, ProcessGroup* group = nullptr);

/// Writes <split>_results.json and updates all_results.json (4 spaces, sorted keys).
void write_results(const std::filesystem::path& directory, const std::string& split, const Json& metrics);

/// The original's console block: "***** eval metrics *****", one aligned line per key.
std::string metrics_block(const std::string& split, const Json& metrics);

}  // namespace qdqbert::train
