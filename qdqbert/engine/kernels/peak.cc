#include "qdqbert/engine/kernels/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "qdqbert/engine/kernels/select.h"
#include "qdqbert/engine/worker_pool.h"

namespace qdqbert::engine {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

double measured_peak_gops(Isa isa, int threads) {
  constexpr double kRoundSeconds = 0.003;
  constexpr int kRounds = 20;
  const IsaKernels& kernels = kernels_for(isa);
  const GemmS8Kernel& kernel = kernels.gemm;
  WorkerPool pool(threads);
  std::vector<double> gops(static_cast<size_t>(threads));
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    // Every thread counts what it does between a common start and a common end, so all are at work
    // throughout.
    std::atomic<int> waiting{threads};
    pool.run(static_cast<size_t>(threads), [&](size_t task, int) {
      kernel.enter();
      waiting.fetch_sub(1);
      while (waiting.load() > 0) std::this_thread::yield();
      const auto start = Clock::now();
      double done = 0, seconds = 0;
      do {
        done += kernels.peak_s8(2000);
        seconds = seconds_since(start);
      } while (seconds < kRoundSeconds);
      gops[task] = done / seconds * 1e-9;
      kernel.leave();
    });
    double sum = 0;
    for (double g : gops) sum += g;
    best = std::max(best, sum);
  }
  return best;
}

}  // namespace qdqbert::engine
