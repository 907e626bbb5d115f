#include "qdqbert/base/cpu_features.h"
#include "qdqbert/quant/kernels.h"

namespace qdqbert::quant {

const Kernels& kernels_for(Isa isa) {
  switch (isa) {
    case Isa::kRef:
      return kKernelsRef;
    case Isa::kAvx2:
    case Isa::kAvxVnni:
      return kKernelsAvx2;
    case Isa::kAvx512Vnni:
    case Isa::kAmxInt8:
      return kKernelsAvx512;
  }
  return kKernelsRef;
}

}  // namespace qdqbert::quant
