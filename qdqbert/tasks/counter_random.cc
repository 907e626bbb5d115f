#include "qdqbert/tasks/counter_random.h"

#include <initializer_list>

namespace qdqbert::tasks {

namespace {

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection in which every input bit flips each
/// output bit with a probability near one half.
uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;

}  // namespace

uint64_t random_bits(uint64_t seed, uint64_t a, uint64_t b, uint64_t c) {
  uint64_t state = mix(seed + kGolden);
  for (const uint64_t word : {a, b, c}) state = mix(state + kGolden * (word + 1));
  return state;
}

double random_unit(uint64_t seed, uint64_t a, uint64_t b, uint64_t c) {
  return static_cast<double>(random_bits(seed, a, b, c) >> 11) * 0x1p-53;
}

uint64_t random_below(uint64_t count, uint64_t seed, uint64_t a, uint64_t b, uint64_t c) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(random_bits(seed, a, b, c)) * count) >> 64);
}

}  // namespace qdqbert::tasks
