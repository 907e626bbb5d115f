// Threads that stay: an inference step is a few hundred microseconds, too short to start threads for.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace qdqbert::engine {

/// `threads` workers, the caller included. One thread at a time may call run(); results never depend on which
/// worker does which task. Tasks run with round-to-nearest and without flushing of denormals, whatever the
/// caller's float control word says; it is restored afterwards.
class WorkerPool {
 public:
  /// first_core >= 0 keeps worker i on the (first_core + i)-th of the cores that the process may use; the
  /// caller, worker 0, is left where it is. Throws SystemError when a thread cannot be started.
  explicit WorkerPool(int threads, int first_core = -1);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls task(index, worker) for every index in [0, count) and returns when all are done. Tasks are claimed
  /// one by one in ascending order. Tasks must not throw.
  template <class Task>
  void run(size_t count, const Task& task) {
    run_erased(
        count,
        [](const void* context, size_t index, int worker) {
          (*static_cast<const Task*>(context))(index, worker);
        },
        &task);
  }

 private:
  using Call = void (*)(const void* context, size_t index, int worker);
  void run_erased(size_t count, Call call, const void* context);
  void work(int worker);
  void claim(int worker);

  std::vector<std::thread> workers_;
  // One word that workers spin on: number of the job, whether it takes in workers, and how many are at it. A
  // job ends when its tasks are done, not when all workers have looked at it: one that lost its processor to
  // another process holds nobody up.
  alignas(64) std::atomic<uint64_t> gate_{0};
  alignas(64) std::atomic<size_t> next_{0};
  size_t count_ = 0;
  Call call_ = nullptr;
  const void* context_ = nullptr;
  std::atomic<bool> stopping_{false};
};

}  // namespace qdqbert::engine
