// The SSE control word, as the bit promise needs it.
#pragma once

#include <cstdint>

namespace qdqbert::engine {

/// All exceptions masked, round to nearest, neither FTZ nor DAZ, for as long as the object lives on this
/// thread.
class StandardFloatControl {
 public:
  StandardFloatControl() : saved_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(0x1f80); }
  ~StandardFloatControl() { __builtin_ia32_ldmxcsr(saved_); }
  StandardFloatControl(const StandardFloatControl&) = delete;
  StandardFloatControl& operator=(const StandardFloatControl&) = delete;

 private:
  uint32_t saved_;
};

}  // namespace qdqbert::engine
