// Fake quantization on a GPU, forward with a saved clip mask and backward, each in one pass over memory.
// Float32, kToolkit of quant/fake_quant.h. Nothing here waits for the device, so what the CPU refuses (a
// negative range, a negative element when unsigned) becomes NaN.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "qdqbert/nn/kernels/fake_quant_element.h"

struct CUstream_st;

namespace qdqbert::nn {

/// All pointers are of the device. Element i has the range amax[i / inner % channels].
struct CudaFakeQuant {
  const float* x;
  float* y;  ///< may be x
  size_t count;
  const float* amax;
  size_t channels;
  size_t inner;
  ElementBounds bounds;
  float* scratch;  ///< cuda_fake_quant_scratch(channels) floats, until the stream has passed
  uint32_t* mask;  ///< cuda_mask_words(count) words: bit i % 32 of word i / 32, 0 past the end; or nullptr
};

constexpr size_t cuda_fake_quant_scratch(size_t channels) {
  return 2 * channels;
}
/// A warp writes four words at once.
constexpr size_t cuda_mask_words(size_t count) {
  return (count + 127) / 128 * 4;
}

/// Put work on `stream` and return cudaError_t of the launch (0: success).
int fake_quant_cuda(const CudaFakeQuant& work, CUstream_st* stream);
/// to_x = mask bit ? to_y : 0. to_x may be to_y.
int pass_marked_cuda(const float* to_y, const uint32_t* mask, size_t count, float* to_x, CUstream_st* stream);

/// What cudaGetErrorString says.
const char* cuda_error_text(int error);

}  // namespace qdqbert::nn
