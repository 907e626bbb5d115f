// Which kernels run under an ISA.
#pragma once

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/engine/kernels/pack.h"
#include "qdqbert/engine/kernels/rows.h"

namespace qdqbert::engine {

/// `isa` must be supported by this machine (supports()).
const GemmS8Kernel& gemm_s8_for(Isa isa);
const RowKernels& rows_for(Isa isa);

}  // namespace qdqbert::engine
