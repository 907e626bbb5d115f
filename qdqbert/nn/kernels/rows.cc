#include "qdqbert/nn/kernels/rows.h"

#include "qdqbert/base/cpu_features.h"

namespace qdqbert::nn {

const RowKernels& row_kernels() {
  return row_kernels_for(preferred_isa());
}

}  // namespace qdqbert::nn
