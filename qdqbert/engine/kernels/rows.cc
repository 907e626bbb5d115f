#include "qdqbert/engine/kernels/select.h"

namespace qdqbert::engine {

const RowKernels& rows_for(Isa isa) {
  switch (isa) {
    case Isa::kRef:
      return rows_ref();
    case Isa::kAvx2:
    case Isa::kAvxVnni:
      return rows_avx2();
    case Isa::kAvx512Vnni:
    case Isa::kAmxInt8:
      return rows_avx512();
  }
  return rows_ref();
}

const GemmS8Kernel& gemm_s8_for(Isa isa) {
  return *find_gemm_s8(name_of(isa).data());
}

}  // namespace qdqbert::engine
