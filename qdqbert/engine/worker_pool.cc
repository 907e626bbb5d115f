#include "qdqbert/engine/worker_pool.h"

#include <system_error>

#include "qdqbert/base/error.h"
#include "qdqbert/engine/float_control.h"

namespace qdqbert::engine {

namespace {

/// About 50 microseconds: longer than the gap between two steps of one request, short enough not to burn a
/// core between requests.
constexpr int kSpins = 1500;

}  // namespace

WorkerPool::WorkerPool(int threads) {
  try {
    for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this, worker] { work(worker); });
  } catch (const std::system_error& error) {
    stopping_ = true;
    generation_.fetch_add(1);
    generation_.notify_all();
    for (std::thread& thread : workers_) thread.join();
    fail<SystemError>("[threads] only {} of {} threads could be started: {}", workers_.size() + 1, threads,
                      error.what());
  }
}

WorkerPool::~WorkerPool() {
  stopping_ = true;
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& thread : workers_) thread.join();
}

void WorkerPool::claim(int worker) {
  const StandardFloatControl standard;
  while (true) {
    const size_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) return;
    call_(context_, index, worker);
  }
}

void WorkerPool::work(int worker) {
  uint64_t seen = 0;
  while (true) {
    int spins = 0;
    uint64_t now;
    while ((now = generation_.load(std::memory_order_acquire)) == seen) {
      if (++spins < kSpins) {
        __builtin_ia32_pause();
      } else {
        generation_.wait(seen, std::memory_order_acquire);
      }
    }
    seen = now;
    if (stopping_.load(std::memory_order_relaxed)) return;
    claim(worker);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

void WorkerPool::run_erased(size_t count, Call call, const void* context) {
  count_ = count;
  call_ = call;
  context_ = context;
  next_.store(0, std::memory_order_relaxed);
  if (workers_.empty() || count < 2) return claim(0);
  busy_.store(workers_.size(), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  claim(0);
  // A worker that lost its processor to another process needs this one to get on.
  for (int spins = 0; busy_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpins) {
      __builtin_ia32_pause();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace qdqbert::engine
