// Digests of results that must be the same bits on every processor, and inputs that are so by definition.
#pragma once

#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/sha256.h"

namespace qdqbert::testing {

/// n values in [low, high), with the words that the standard prescribes for this engine and one rounding
/// each; the distributions of the library are its own matter.
inline std::vector<float> defined_floats(std::mt19937& random, size_t n, float low, float high) {
  std::vector<float> values(n);
  for (float& value : values) value = low + (high - low) * (static_cast<float>(random() >> 8) * 0x1p-24f);
  return values;
}

/// SHA-256 of what was added, numbers as little-endian bytes. A NaN is a NaN: which sign and payload an
/// operation gives it is left to the processor.
class RecordedBits {
 public:
  void add(std::span<const float> values) {
    for (const float value : values) {
      const float kept = value != value ? std::numeric_limits<float>::quiet_NaN() : value;
      bytes_.append(reinterpret_cast<const char*>(&kept), sizeof(kept));
    }
  }
  void add(std::span<const uint8_t> codes) {
    bytes_.append(reinterpret_cast<const char*>(codes.data()), codes.size());
  }
  std::string digest() const { return sha256(bytes_); }

 private:
  std::string bytes_;
};

}  // namespace qdqbert::testing
