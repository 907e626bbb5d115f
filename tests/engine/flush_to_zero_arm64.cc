#include "tests/engine/flush_to_zero.h"

namespace qdqbert::testing {

FlushToZero::FlushToZero() {
  constexpr uint64_t kFz = uint64_t{1} << 24;
  asm volatile("mrs %0, fpcr" : "=r"(saved_) : : "memory");
  asm volatile("msr fpcr, %0" : : "r"(saved_ | kFz) : "memory");
}

FlushToZero::~FlushToZero() {
  asm volatile("msr fpcr, %0" : : "r"(saved_) : "memory");
}

}  // namespace qdqbert::testing
