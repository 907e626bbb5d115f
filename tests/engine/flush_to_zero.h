// The float control word as it must not be: one file a processor.
#pragma once

#include <cstdint>

namespace qdqbert::testing {

/// Denormals, as operands and as results, count as zero for as long as the object lives on this thread.
class FlushToZero {
 public:
  FlushToZero();
  ~FlushToZero();
  FlushToZero(const FlushToZero&) = delete;
  FlushToZero& operator=(const FlushToZero&) = delete;

 private:
  uint64_t saved_;
};

}  // namespace qdqbert::testing
