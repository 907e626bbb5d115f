#include "qdqbert/engine/kernels/peak.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "qdqbert/engine/kernels/peak_s8.h"
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
  // A burst runs at a clock that the processor does not keep: all threads work without a pause, and while the
  // clock settles nothing counts. The time is cut into slices, short enough that some pass without another
  // process; the best one is taken, because what else the machine does makes a slice slower and never faster.
  constexpr double kSliceSeconds = 0.001;
  constexpr size_t kSlices = 300, kSettling = 100;
  const IsaKernels& kernels = kernels_for(isa);
  const GemmS8Kernel& kernel = kernels.gemm;
  alignas(64) std::array<int8_t, kPeakCodes> codes;
  std::mt19937 random(1);
  for (int8_t& code : codes) code = static_cast<int8_t>(random());
  WorkerPool pool(threads);
  std::vector<std::array<double, kSlices>> gops(static_cast<size_t>(threads));
  std::atomic<int> waiting{threads};
  pool.run(static_cast<size_t>(threads), [&](size_t task, int) {
    kernel.enter();
    waiting.fetch_sub(1);
    while (waiting.load() > 0) std::this_thread::yield();
    const auto start = Clock::now();
    double now = 0;
    for (size_t slice = 0; slice < kSlices; ++slice) {
      const double planned = static_cast<double>(slice) * kSliceSeconds, begin = now;
      double done = 0;
      do {
        done += kernels.peak_s8(codes.data(), 4000);
        now = seconds_since(start);
      } while (now < planned + kSliceSeconds);
      // Who begins late was not at work together with the others.
      const bool together = begin < planned + 0.2 * kSliceSeconds;
      gops[task][slice] = together ? done / (now - begin) * 1e-9 : 0;
    }
    kernel.leave();
  });
  double best = 0;
  for (size_t slice = kSettling; slice < kSlices; ++slice) {
    double sum = 0;
    for (const auto& thread : gops) sum += thread[slice];
    best = std::max(best, sum);
  }
  return best;
}

}  // namespace qdqbert::engine
