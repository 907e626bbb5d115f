// What evaluation of every task needs, and the files of results.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "qdqbert/base/log.h"
#include "qdqbert/model/bert_model.h"
#include "qdqbert/tasks/squad_features.h"

namespace qdqbert::train {

/// Inputs of features `rows`, each padded to `width` columns: input_ids, attention_mask,
/// token_type_ids int64 [rows, width].
model::ModelInputs batch_of(const tasks::SquadFeatures& features, std::span<const size_t> rows, size_t width);

/// True when no enabled quantizer takes its range from the batch at hand, so that results do not depend on
/// padding and on which features share a batch.
bool has_fixed_ranges(const model::PreTrainedModel& model);

/// True when any quantizer that quantizes has a stored range.
bool has_ranges(const model::PreTrainedModel& model);

/// What a model computes in. kBf16, kFp16: products in half precision (nn/autocast.h), kFp16 on a GPU only.
/// kFloat64: everything, the same float32 weights and ranges included, so that what is left between two
/// float32 runs is their own rounding.
enum class Precision { kFloat32, kBf16, kFp16, kFloat64 };

/// Writes `<split>_results.json` and updates all_results.json (4 spaces, sorted keys).
void write_results(const std::filesystem::path& directory, const std::string& split, const Json& metrics);

/// The original's console block: "***** eval metrics *****", one aligned line per key.
std::string metrics_block(const std::string& split, const Json& metrics);

}  // namespace qdqbert::train
