#include "qdqbert/engine/kernels/illegal_instruction.h"

#include <atomic>
#include <csetjmp>
#include <csignal>
#include <mutex>

#include <pthread.h>

namespace qdqbert::engine {

namespace {

// Signal handlers belong to the process, so one call at a time.
std::mutex one_call;
struct sigaction before;
sigjmp_buf way_out;
pthread_t thread;
std::atomic<bool> guarded{false};

void on_illegal_instruction(int signal, siginfo_t* info, void* context) {
  // Codes above 0 are the processor's; somebody may also have sent the signal.
  const bool fault = info->si_code > 0;
  if (fault && guarded && pthread_equal(thread, pthread_self())) siglongjmp(way_out, 1);
  if (before.sa_flags & SA_SIGINFO) return before.sa_sigaction(signal, info, context);
  if (before.sa_handler == SIG_IGN && !fault) return;
  if (before.sa_handler != SIG_IGN && before.sa_handler != SIG_DFL) return before.sa_handler(signal);
  // The process ends as it would have: by the same instruction, or by the signal sent once more.
  sigaction(SIGILL, &before, nullptr);
  if (!fault) raise(signal);
}

/// Apart, so that no local variable lives across the jump.
bool call_and_return(void (*call)(void*), void* context) {
  if (sigsetjmp(way_out, 1) != 0) return false;
  call(context);
  return true;
}

}  // namespace

bool survives(void (*call)(void*), void* context) {
  const std::lock_guard lock(one_call);
  struct sigaction ours = {};
  ours.sa_sigaction = on_illegal_instruction;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  // First read, then replaced: from then on another thread may ask for it.
  sigaction(SIGILL, nullptr, &before);
  thread = pthread_self();
  guarded = true;
  sigaction(SIGILL, &ours, nullptr);
  // A blocked one would end the process.
  sigset_t illegal, mask;
  sigemptyset(&illegal);
  sigaddset(&illegal, SIGILL);
  pthread_sigmask(SIG_UNBLOCK, &illegal, &mask);
  const bool survived = call_and_return(call, context);
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  guarded = false;
  sigaction(SIGILL, &before, nullptr);
  return survived;
}

}  // namespace qdqbert::engine
