#include "tests/engine/flush_to_zero.h"

namespace qdqbert::testing {

FlushToZero::FlushToZero() : saved_(__builtin_ia32_stmxcsr()) {
  constexpr uint32_t kFtzAndDaz = 0x8040;
  __builtin_ia32_ldmxcsr(static_cast<uint32_t>(saved_) | kFtzAndDaz);
}

FlushToZero::~FlushToZero() {
  __builtin_ia32_ldmxcsr(static_cast<uint32_t>(saved_));
}

}  // namespace qdqbert::testing
