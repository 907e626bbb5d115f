#include "qdqbert/engine/worker_pool.h"

#include <system_error>

#include <pthread.h>
#include <sched.h>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/base/error.h"
#include "qdqbert/engine/float_control.h"

namespace qdqbert::engine {

namespace {

/// About 50 microseconds: longer than the gap between two steps of one request,
/// short enough not to burn a core between requests.
constexpr int kSpins = 1500;

/// Parts of the gate: the lower half counts the workers inside, then one bit, then the number of the job.
constexpr uint64_t kInside = (uint64_t{1} << 32) - 1;
constexpr uint64_t kOpen = uint64_t{1} << 32;
constexpr uint64_t kJob = uint64_t{1} << 33;

/// Asks the system to run the thread on that core of those that this process may use. That it declines
/// changes speed and nothing else.
void keep_on_core(std::thread& thread, int number) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) == 0) return;
  int left = number % CPU_COUNT(&allowed);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed) || left-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    pthread_setaffinity_np(thread.native_handle(), sizeof(one), &one);
    return;
  }
}

}  // namespace

WorkerPool::WorkerPool(int threads, int first_core) {
  try {
    for (int worker = 1; worker < threads; ++worker) {
      workers_.emplace_back([this, worker] { work(worker); });
      if (first_core >= 0) keep_on_core(workers_.back(), first_core + worker);
    }
  } catch (const std::system_error& error) {
    stopping_ = true;
    gate_.fetch_add(kJob);
    gate_.notify_all();
    for (std::thread& thread : workers_) thread.join();
    fail<SystemError>("[threads] only {} of {} threads could be started: {}", workers_.size() + 1, threads,
                      error.what());
  }
}

WorkerPool::~WorkerPool() {
  stopping_ = true;
  gate_.fetch_add(kJob);
  gate_.notify_all();
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
  uint64_t done = 0;  // the last job that this worker took part in
  int spins = 0;
  while (true) {
    uint64_t gate = gate_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    if ((gate & kOpen) == 0 || gate / kJob == done) {
      if (++spins < kSpins) {
        pause_spinning();
      } else {
        gate_.wait(gate, std::memory_order_acquire);
      }
      continue;
    }
    if (!gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acquire)) continue;
    done = gate / kJob;
    claim(worker);
    gate_.fetch_sub(1, std::memory_order_release);
    spins = 0;
  }
}

void WorkerPool::run_erased(size_t count, Call call, const void* context) {
  count_ = count;
  call_ = call;
  context_ = context;
  next_.store(0, std::memory_order_relaxed);
  if (workers_.empty() || count < 2) return claim(0);
  // The gate is closed and nobody is inside.
  gate_.fetch_add(kJob + kOpen, std::memory_order_release);
  gate_.notify_all();
  claim(0);
  gate_.fetch_sub(kOpen, std::memory_order_relaxed);
  // A worker that lost its processor in the middle of a task needs this one to get on.
  for (int spins = 0; (gate_.load(std::memory_order_acquire) & kInside) != 0; ++spins) {
    if (spins < kSpins) {
      pause_spinning();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace qdqbert::engine
