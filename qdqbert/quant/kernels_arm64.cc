#include "qdqbert/base/cpu_features.h"
#include "qdqbert/quant/kernels.h"

namespace qdqbert::quant {

const Kernels& kernels_for(Isa) {
  return kKernelsRef;
}

}  // namespace qdqbert::quant
