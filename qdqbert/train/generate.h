// Next-token logits of a causal model with a cache, for tasks/text_generation.h.
#pragma once

#include "qdqbert/model/bert_model.h"
#include "qdqbert/tasks/text_generation.h"

namespace qdqbert::train {

/// Keeps the cache between calls; `model` (a QDQBertLMHeadModel whose configuration is a decoder's)
/// must outlive it. With `use_cache` false the whole text goes through the model at every
/// step: slow, the same result in float. Throws InputError for another class, and for a text
/// that is longer than the position table.
tasks::NextTokenLogits next_token_logits(model::PreTrainedModel& model, bool use_cache = true);

}  // namespace qdqbert::train
