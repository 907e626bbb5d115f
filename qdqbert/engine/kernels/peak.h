// The highest rate at which this processor can multiply 8-bit codes, measured, not looked up: clocks differ.
#pragma once

#include "qdqbert/base/cpu_features.h"

namespace qdqbert::engine {

/// 10^9 operations a second (two per multiply-add) of the multiply instruction that the GEMM kernel of `isa`
/// uses, on random codes, with `threads` threads at work at once, as they can be kept up: 0.3 s of work.
/// `isa` must be supported by this machine. Throws SystemError when a thread cannot be started.
double measured_peak_gops(Isa isa, int threads);

}  // namespace qdqbert::engine
