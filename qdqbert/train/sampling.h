// In which order a shuffling loader visits the samples.
#pragma once

#include <cstdint>
#include <vector>

namespace qdqbert::train {

/// The order of PyTorch's DataLoader(shuffle=True) when the global generator has just been seeded with
/// `seed`, as the original's trainer does (specification 4.8): two numbers are drawn, the second one seeds
/// the generator of the permutation. `samples` indices; batches are consecutive slices.
std::vector<int64_t> loader_order(int64_t samples, uint64_t seed);

}  // namespace qdqbert::train
