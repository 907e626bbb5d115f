// Inputs of the next step when text is generated token by token.
#pragma once

#include <vector>

#include "qdqbert/model/model_io.h"

namespace qdqbert::model {

/// The next call of a QDQBertLMHeadModel that has produced `past` (empty: the first call): all
/// ids [B, S] so far without those that the cache holds, the last one when it holds as many or
/// more; a mask of ones when none is given.
ModelInputs prepare_causal_inputs(const at::Tensor& input_ids, const at::Tensor& attention_mask,
                                  const PastKeyValues& past);

/// The next call of a QDQBertForMaskedLM: one padding token that the others do not see is put behind. Throws
/// InputError without padding id.
ModelInputs prepare_masked_inputs(const at::Tensor& input_ids, const at::Tensor& attention_mask,
                                  std::optional<int64_t> pad_token_id);

/// The cache after beam search kept `rows` (indices into the batch, int64),
/// those of the cross-attention included.
PastKeyValues reorder_cache(const PastKeyValues& past, const at::Tensor& rows);

}  // namespace qdqbert::model
