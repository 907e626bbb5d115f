#include "qdqbert/engine/kernels/select.h"

namespace qdqbert::engine {

const IsaKernels& kernels_for(Isa isa) {
  for (const IsaKernels& row : isa_kernels())
    if (row.gemm.name == name_of(isa)) return row;
  return isa_kernels().back();
}

const RowKernels& rows_for(Isa isa) {
  return kernels_for(isa).rows();
}

const GemmS8Kernel& gemm_s8_for(Isa isa) {
  return kernels_for(isa).gemm;
}

}  // namespace qdqbert::engine
