// An instruction that no processor knows.
#pragma once

#include <ucontext.h>

namespace qdqbert::testing {

inline void illegal_instruction() {
#if defined(__x86_64__)
  asm volatile("ud2");
#else
  asm volatile(".inst 0");
#endif
}

/// For a handler of SIGILL that goes on behind it.
inline void skip_illegal_instruction(void* context) {
  auto* registers = &static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  registers->gregs[REG_RIP] += 2;
#else
  registers->pc += 4;
#endif
}

}  // namespace qdqbert::testing
