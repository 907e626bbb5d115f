// For programs with a LibTorch that contains another oneDNN: loads oneDNN so that it finds its
// own functions first, and passes every call of onednn.cc on to it. Linked as usual, the two would
// share the inline functions of their kernels' set-up, which the dynamic linker takes from whichever
// comes first; the other's products then fail.
#include <array>
#include <string>

#include <dlfcn.h>

#include "qdqbert/base/error.h"

namespace {

constexpr const char* kNames[] = {
#define QDQBERT_CALL(name, index) #name,
#include "onednn_calls.inc"
#undef QDQBERT_CALL
};
constexpr size_t kCount = std::size(kNames);

std::string& reason() {
  static std::string text;
  return text;
}

[[noreturn]] void missing() {
  qdqbert::fail<qdqbert::SystemError>("[oneDNN] {} cannot be used: {}", QDQBERT_ONEDNN_SONAME, reason());
}

}  // namespace

extern "C" {
// Where each call goes on.
[[gnu::visibility("hidden")]] void* qdqbert_onednn_calls[kCount];
}

// A jump leaves the arguments where they are, whatever the function takes.
#define QDQBERT_CALL(name, index)          \
  asm(".text\n"                            \
      ".globl " #name                      \
      "\n"                                 \
      ".hidden " #name                     \
      "\n"                                 \
      ".type " #name ", @function\n" #name \
      ":\n"                                \
      "  endbr64\n"                        \
      "  jmp *qdqbert_onednn_calls + 8 * " #index "(%rip)\n");
#include "onednn_calls.inc"
#undef QDQBERT_CALL

namespace {

[[gnu::constructor]] void load() {
  for (void*& call : qdqbert_onednn_calls) call = reinterpret_cast<void*>(missing);
  void* library = dlopen(QDQBERT_ONEDNN_SONAME, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  for (size_t i = 0; i < kCount && library != nullptr; ++i) {
    void* const function = dlsym(library, kNames[i]);
    if (function == nullptr) break;
    qdqbert_onednn_calls[i] = function;
  }
  if (const char* error = dlerror()) reason() = error;
}

}  // namespace
