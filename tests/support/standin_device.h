// A device for tests that need no accelerator, yet finds what goes wrong on one: its memory ends the process
// when the host touches it, and its operators refuse tensors of other devices.
#pragma once

#include <cstdint>

#include <c10/core/Device.h>

namespace qdqbert::testing {

/// LibTorch's PrivateUse1. Its kernels are LibTorch's own for the CPU, run over the same memory, so results
/// have their bits. A call is refused (c10::Error that names the operator) when one of its tensors lies on
/// the CPU, unless that has no dimension and is only read. Pages are open only while an operator runs that
/// got them as an argument. Needs nothing but the link.
c10::Device standin_device();

/// What has happened since the process began.
struct StandinCounts {
  int64_t operators = 0;  ///< kernels that ran
  int64_t items = 0;      ///< numbers that the host waited for: item(), equal(), ...
  int64_t to_host = 0;    ///< tensors copied to the CPU, which the host waits for too
  int64_t to_device = 0;  ///< tensors copied from it

  StandinCounts operator-(const StandinCounts& before) const {
    return {operators - before.operators, items - before.items, to_host - before.to_host,
            to_device - before.to_device};
  }
};
StandinCounts standin_counts();

}  // namespace qdqbert::testing
