// Kernels are asked once for the bits of the reference before anything is computed with them: a compiler, a
// hypervisor or a processor that was never tested may break one, and then the next best has to do.
#pragma once

#include <string>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/engine/kernels/gemm_s8.h"
#include "qdqbert/engine/kernels/rows.h"

namespace qdqbert::engine {

/// A product with remainders in all directions, weights packed from both orders, against the reference.
/// Empty: the same bits. Else what is wrong, to go on after the kernel's name: "multiplies wrongly", or that
/// it meets an illegal instruction, which the caller survives.
std::string fault_of(const GemmS8Kernel& kernel);
/// The same for every function of a table of row kernels, named one by one.
std::string fault_of(const RowKernels& rows);

struct CheckedIsa {
  Isa isa;
  std::string left_out;  ///< which better ones are not used and why; empty: none
};

/// `isa`, or the best below it, with kernels that have no fault; the reference has none by definition. `isa`
/// must be supported by this machine. Each ISA is checked once in a process; what is left out is said in one
/// warning, once. Thread-safe.
CheckedIsa checked_isa(Isa isa);

}  // namespace qdqbert::engine
