// Cycles that this thread spends, where the system lets a program count them.
#pragma once

#include <cstdint>

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace qdqbert {

/// Core cycles of the calling thread outside the kernel. Processors change their clock, so nanoseconds of two
/// runs compare only where cycles agree. Virtual machines mostly have no such counter.
class CycleCounter {
 public:
  CycleCounter() {
    perf_event_attr what{};
    what.type = PERF_TYPE_HARDWARE;
    what.size = sizeof(what);
    what.config = PERF_COUNT_HW_CPU_CYCLES;
    what.exclude_kernel = 1;
    what.exclude_hv = 1;
    file_ = static_cast<int>(syscall(SYS_perf_event_open, &what, 0, -1, -1, 0));
  }
  ~CycleCounter() {
    if (file_ >= 0) close(file_);
  }
  CycleCounter(const CycleCounter&) = delete;
  CycleCounter& operator=(const CycleCounter&) = delete;

  bool counts() const { return file_ >= 0; }
  /// Since the counter was made; 0 where there is none.
  uint64_t now() const {
    uint64_t cycles = 0;
    return counts() && read(file_, &cycles, sizeof(cycles)) == sizeof(cycles) ? cycles : 0;
  }

 private:
  int file_;
};

}  // namespace qdqbert
