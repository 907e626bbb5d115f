// Which kernels run under an ISA.
#pragma once

#include <span>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/engine/kernels/pack.h"
#include "qdqbert/engine/kernels/rows.h"

namespace qdqbert::engine {

/// One row of the kernel table.
struct IsaKernels {
  GemmS8Kernel gemm;
  const RowKernels& (*rows)();
  /// The loop of peak_s8.h over the instruction that `gemm` multiplies with.
  double (*peak_s8)(const int8_t* codes, size_t rounds);
};

/// What this processor's kernels are written for, best first, the scalar reference last. One file a
/// processor: table_x86.cc, table_arm64.cc.
std::span<const IsaKernels> isa_kernels();

/// `isa` must be supported by this machine (supports()).
const IsaKernels& kernels_for(Isa isa);
const GemmS8Kernel& gemm_s8_for(Isa isa);
const RowKernels& rows_for(Isa isa);

}  // namespace qdqbert::engine
