#pragma once

#include "qdqbert/model/heads.h"

namespace qdqbert::testing {

/// The same function with hidden and intermediate features in another order, drawn from `seed`, so that only
/// the order of sums changes: how many answers differ then is the floor of the noise rule. InputError: a
/// language model, whose output layer is tied to its embeddings.
void reorder_features(model::PreTrainedModel& model, unsigned seed = 3);

}  // namespace qdqbert::testing
