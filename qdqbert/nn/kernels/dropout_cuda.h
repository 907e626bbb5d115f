// Dropout on a GPU in one pass: nothing is kept for the backward pass, which counts the same words again.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "qdqbert/nn/kernels/rows.h"

struct CUstream_st;

namespace qdqbert::nn {

enum class CudaType { kFloat, kHalf, kBf16 };

/// y = (the element's random word >= threshold) ? x * scale : 0. Pointers are of the device; y may be x.
struct CudaDropout {
  const void* x;
  void* y;
  CudaType type;
  size_t count;
  RandomStream stream;
  uint32_t threshold;
  float scale;  ///< 0 drops everything
};

/// Puts work on `stream` and returns cudaError_t of the launch (0: success).
int dropout_cuda(const CudaDropout& work, CUstream_st* stream);

}  // namespace qdqbert::nn
