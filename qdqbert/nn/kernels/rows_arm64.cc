#include "qdqbert/base/cpu_features.h"
#include "qdqbert/nn/kernels/rows.h"

namespace qdqbert::nn {

const RowKernels& row_kernels_for(Isa) {
  return kRowKernelsRef;
}

}  // namespace qdqbert::nn
