// Random numbers as a function of where they are used: no state, so the same for every order of work and
// number of threads, and resumable at any place.
#pragma once

#include <cstdint>

namespace qdqbert::tasks {

/// 64 evenly distributed bits for a place (a, b, c) under a seed.
uint64_t random_bits(uint64_t seed, uint64_t a, uint64_t b, uint64_t c);
/// In [0, 1), 53 bits.
double random_unit(uint64_t seed, uint64_t a, uint64_t b, uint64_t c);
/// In [0, count); count at least 1. Deviates from even by less than count / 2^64.
uint64_t random_below(uint64_t count, uint64_t seed, uint64_t a, uint64_t b, uint64_t c);

}  // namespace qdqbert::tasks
