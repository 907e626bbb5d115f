// A caller's batch as a plan takes it: checked, and without its padding.
#pragma once

#include <span>

#include "qdqbert/engine/plan/plan.h"

namespace qdqbert::engine {

/// Throws InputError as Session::run() says.
template <class Integer>
PackedBatch pack_batch(const Plan& plan, const PaddedBatch<Integer>& batch);
/// What pack_batch() refuses of ids, types and masks, whatever the lengths are.
template <class Integer>
void check_values(const Plan& plan, const PaddedBatch<Integer>& batch);
/// What pack_batch() refuses of the sizes and offsets.
void check_offsets(const PackedTexts& texts);
/// `caches`: none, or one for each text. check_offsets() has seen the texts.
PackedBatch pack_batch(const Plan& plan, const PackedTexts& texts, std::span<TextCache* const> caches);

extern template void check_values(const Plan& plan, const PaddedBatch<int64_t>& batch);
extern template void check_values(const Plan& plan, const PaddedBatch<int32_t>& batch);
extern template PackedBatch pack_batch(const Plan& plan, const PaddedBatch<int64_t>& batch);
extern template PackedBatch pack_batch(const Plan& plan, const PaddedBatch<int32_t>& batch);

}  // namespace qdqbert::engine
