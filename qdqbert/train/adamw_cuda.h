// AdamW on a GPU, one pass over memory for each tensor.
#pragma once

#include <stddef.h>

#include "qdqbert/train/adamw_element.h"

struct CUstream_st;

namespace qdqbert::train {

/// All pointers are of the device.
struct CudaAdam {
  AdamCoefficients coefficients;  ///< `gradient`, `step` and `root` are taken from `decided` instead
  const float* decided;           ///< gradient, step, root, and 0 when the step is left out
  bool library;                   ///< which of the two rules
  size_t count;
  const float* g;
  float *p, *m, *v;
};

/// Puts work on `stream` and returns cudaError_t of the launch (0: success).
int adam_cuda(const CudaAdam& work, CUstream_st* stream);

}  // namespace qdqbert::train
