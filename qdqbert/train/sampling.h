// In which order a shuffling loader visits the samples.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qdqbert::train {

/// The order of PyTorch's DataLoader(shuffle=True) when the global generator has just been seeded with
/// `seed`, as the original's trainer does: two numbers are drawn, the second one seeds the generator of
/// the permutation. `samples` indices; batches are consecutive slices. `epoch` counts from 0; as every pass
/// draws two numbers, its order is a function of seed and epoch alone when nothing else draws (dropout has
/// a generator of its own here, see nn/dropout.h).
std::vector<int64_t> loader_order(int64_t samples, uint64_t seed, int64_t epoch = 0);

/// The order of the original library's sampler by length: a random permutation cut into parts of many
/// batches, each part sorted by falling length, and the longest sample of all put first, so that memory runs
/// out at once or never. `batch_size`: samples of an optimizer step. A function of its arguments alone.
std::vector<int64_t> length_grouped_order(std::span<const int64_t> lengths, int64_t batch_size, uint64_t seed,
                                          int64_t epoch);

}  // namespace qdqbert::train
