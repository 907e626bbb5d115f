// The float control word, as the bit promise needs it: MXCSR (float_control_x86.cc),
// FPCR (float_control_arm64.cc).
#pragma once

#include <cstdint>

namespace qdqbert::engine {

/// All exceptions masked, round to nearest, denormals neither flushed to zero nor taken for it, NaN payloads
/// kept, for as long as the object lives on this thread.
class StandardFloatControl {
 public:
  StandardFloatControl();
  ~StandardFloatControl();
  StandardFloatControl(const StandardFloatControl&) = delete;
  StandardFloatControl& operator=(const StandardFloatControl&) = delete;

 private:
  uint64_t saved_;
};

}  // namespace qdqbert::engine
