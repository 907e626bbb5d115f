// A caller's batch as a plan takes it: checked, and without its padding.
#pragma once

#include <span>

#include "qdqbert/engine/plan/plan.h"

namespace qdqbert::engine {

/// Throws InputError as Session::run() says.
template <class Integer>
PackedBatch pack_batch(const Plan& plan, const PaddedBatch<Integer>& batch);
/// `caches`: none, or one for each text.
PackedBatch pack_batch(const Plan& plan, const PackedTexts& texts, std::span<TextCache* const> caches);

extern template PackedBatch pack_batch(const Plan& plan, const PaddedBatch<int64_t>& batch);
extern template PackedBatch pack_batch(const Plan& plan, const PaddedBatch<int32_t>& batch);

}  // namespace qdqbert::engine
