#include <cstring>

#include "qdqbert/engine/kernels/pack.h"
#include "qdqbert/engine/kernels/select.h"

namespace qdqbert::engine {

const GemmS8Kernel* find_gemm_s8(const char* isa) {
  for (const IsaKernels& row : isa_kernels())
    if (std::strcmp(row.gemm.name, isa) == 0) return &row.gemm;
  return nullptr;
}

}  // namespace qdqbert::engine
