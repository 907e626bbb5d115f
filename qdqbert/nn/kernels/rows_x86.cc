#include "qdqbert/base/cpu_features.h"
#include "qdqbert/nn/kernels/rows.h"

namespace qdqbert::nn {

const RowKernels& row_kernels_for(Isa isa) {
  switch (isa) {
    case Isa::kRef:
      return kRowKernelsRef;
    case Isa::kAvx2:
    case Isa::kAvxVnni:
      return kRowKernelsAvx2;
    case Isa::kAvx512Vnni:
    case Isa::kAmxInt8:
      return kRowKernelsAvx512;
  }
  return kRowKernelsRef;
}

}  // namespace qdqbert::nn
