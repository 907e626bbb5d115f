#include "qdqbert/engine/float_control.h"

namespace qdqbert::engine {

StandardFloatControl::StandardFloatControl() {
  asm volatile("mrs %0, fpcr" : "=r"(saved_) : : "memory");
  asm volatile("msr fpcr, %0" : : "r"(uint64_t{0}) : "memory");
}

StandardFloatControl::~StandardFloatControl() {
  asm volatile("msr fpcr, %0" : : "r"(saved_) : "memory");
}

}  // namespace qdqbert::engine
