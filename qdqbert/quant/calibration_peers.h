// What lets several processes collect as one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace qdqbert::quant {

/// What a process tells the others about its batch of a round.
struct BatchExtremes {
  bool counts = false;  ///< false: it has no batch in this round
  float smallest_nonzero = 0, largest = 0;
  bool saw_zero = false;
};

/// The processes that calibrate one model together. Every call is collective. Batches are dealt out in turn:
/// process r of n has batches r, n + r, 2n + r, ..., a round is one batch of each.
class CalibrationPeers {
 public:
  virtual ~CalibrationPeers() = default;
  virtual size_t rank() const = 0;
  /// One entry a process, by rank.
  virtual std::vector<BatchExtremes> exchange(const BatchExtremes& mine) = 0;
  virtual void sum(std::span<int64_t> values) = 0;
  virtual void maximum(std::span<float> values) = 0;
};

}  // namespace qdqbert::quant
