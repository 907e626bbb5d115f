#include "qdqbert/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include <sched.h>

#include "qdqbert/base/math.h"

namespace qdqbert {

int default_threads() {
  if (const char* text = std::getenv("QDQBERT_THREADS")) {
    const int value = std::atoi(text);
    if (value > 0) return value;
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

void parallel_for(size_t count, size_t grain, int threads, const std::function<void(size_t, size_t)>& body) {
  if (count == 0) return;
  grain = std::max<size_t>(grain, 1);
  const size_t chunks = divide_up(count, grain);
  const size_t wanted = static_cast<size_t>(threads > 0 ? threads : default_threads());
  const size_t workers = std::min(wanted, chunks);
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto run = [&] {
    while (!stop.load(std::memory_order_relaxed)) {
      const size_t chunk = next.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= chunks) return;
      try {
        body(chunk * grain, std::min(count, (chunk + 1) * grain));
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
        stop = true;
      }
    }
  };
  std::vector<std::thread> others;
  others.reserve(workers - 1);
  for (size_t i = 1; i < workers; ++i) others.emplace_back(run);
  run();
  for (std::thread& thread : others) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace qdqbert
