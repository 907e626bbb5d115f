#include "qdqbert/engine/float_control.h"

namespace qdqbert::engine {

StandardFloatControl::StandardFloatControl() : saved_(__builtin_ia32_stmxcsr()) {
  __builtin_ia32_ldmxcsr(0x1f80);
}

StandardFloatControl::~StandardFloatControl() {
  __builtin_ia32_ldmxcsr(static_cast<uint32_t>(saved_));
}

}  // namespace qdqbert::engine
