#include "qdqbert/quant/kernels.h"

#include "qdqbert/base/cpu_features.h"

namespace qdqbert::quant {

const Kernels& kernels() {
  return kernels_for(preferred_isa());
}

}  // namespace qdqbert::quant
