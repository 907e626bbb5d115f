// A session beside reference operators over one file, request by request.
#pragma once

#include <cmath>
#include <filesystem>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "qdqbert/engine/session.h"

namespace qdqbert::testing {

/// Float sums in two orders over two layers of 32 columns: some hundred roundings of 2^-24 of values around 1.
inline constexpr float kOrderOfSums = 2e-5f;

/// The same file twice: as a session runs it, and node by node as it is written.
struct Both {
  explicit Both(const std::filesystem::path& file, engine::Precision precision = engine::Precision::kAuto)
      : session(file, how(precision, false)), reference(file, how(precision, true)) {}
  static engine::SessionOptions how(engine::Precision precision, bool general) {
    engine::SessionOptions options;
    options.threads = 1;
    options.precision = precision;
    options.general_mask = general;
    return options;
  }
  engine::Session session, reference;
};

/// A request of `batch` texts padded to `length`; ids below 100, types 0 and 1.
struct Request {
  Request(size_t texts, size_t positions, uint32_t seed = 3)
      : batch(texts), length(positions), ids(texts * positions), mask(ids.size(), 1), types(ids.size()) {
    std::mt19937 random(seed);
    for (size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<int64_t>(random() % 100);
      types[i] = static_cast<int64_t>(random() % 2);
    }
  }
  /// Text b loses its last `each` * b positions.
  Request& pad(size_t each) {
    for (size_t b = 0; b < batch; ++b)
      for (size_t s = length - std::min(length - 1, each * b); s < length; ++s) mask[b * length + s] = 0;
    return *this;
  }
  /// Positions in the middle of texts, the first of each kept.
  Request& holes(uint32_t seed) {
    std::mt19937 random(seed);
    for (size_t i = 0; i < mask.size(); ++i)
      if (i % length != 0 && random() % 3 == 0) mask[i] = 0;
    return *this;
  }
  engine::PaddedBatch<int64_t> view() const { return {batch, length, ids, mask, types}; }
  size_t batch, length;
  std::vector<int64_t> ids, mask, types;
};

/// The largest difference of any output, positions that the mask removes left out; shapes must be equal.
inline float largest_difference(const std::vector<engine::Output>& a, const std::vector<engine::Output>& b,
                                const Request& request) {
  float largest = 0;
  EXPECT_EQ(a.size(), b.size());
  for (size_t o = 0; o < a.size() && o < b.size(); ++o) {
    EXPECT_EQ(a[o].shape, b[o].shape) << a[o].name;
    EXPECT_EQ(a[o].values.size(), b[o].values.size()) << a[o].name;
    if (a[o].values.size() != b[o].values.size()) return INFINITY;
    const bool by_token = a[o].shape.size() >= 2 && a[o].shape[0] == static_cast<int64_t>(request.batch) &&
                          a[o].shape[1] == static_cast<int64_t>(request.length);
    const size_t columns = by_token ? a[o].values.size() / request.mask.size() : 1;
    for (size_t j = 0; j < a[o].values.size(); ++j) {
      if (by_token && request.mask[j / columns] == 0) continue;
      const float distance = std::fabs(a[o].values[j] - b[o].values[j]);
      largest = distance <= largest ? largest : distance;
    }
  }
  return largest;
}

inline float largest_difference(const Both& both, const Request& request) {
  return largest_difference(both.session.run(request.view()), both.reference.run(request.view()), request);
}

}  // namespace qdqbert::testing
