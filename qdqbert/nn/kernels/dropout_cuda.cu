#include <algorithm>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "qdqbert/nn/kernels/dropout_cuda.h"
#include "qdqbert/nn/kernels/philox.h"

namespace qdqbert::nn {
namespace {

constexpr int kThreads = 256;
// Blocks beyond what fills every GPU of today; further counters are taken in turn.
constexpr size_t kMostBlocks = 8192;

/// A thread takes a counter, and with it four elements 16 apart: neighbours read neighbours.
template <class T>
__global__ void apply(CudaDropout work) {
  const T* x = static_cast<const T*>(work.x);
  T* y = static_cast<T*>(work.y);
  const size_t counters = (work.count + 63) / 64 * 16, stride = static_cast<size_t>(gridDim.x) * kThreads;
  for (size_t n = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x; n < counters; n += stride) {
    const RandomWords random = random_words(work.stream, static_cast<uint32_t>(n));
    for (int j = 0; j < 4; ++j) {
      const size_t i = element_of_word(n, j);
      if (i >= work.count) continue;
      const bool keeps = work.scale != 0 && random.word[j] >= work.threshold;
      y[i] = keeps ? static_cast<T>(static_cast<float>(x[i]) * work.scale) : static_cast<T>(0.0f);
    }
  }
}

}  // namespace

int dropout_cuda(const CudaDropout& work, CUstream_st* stream) {
  if (work.count == 0) return cudaSuccess;
  const size_t counters = (work.count + 63) / 64 * 16;
  const auto blocks = static_cast<unsigned>(std::min(kMostBlocks, (counters + kThreads - 1) / kThreads));
  switch (work.type) {
    case CudaType::kFloat:
      apply<float><<<blocks, kThreads, 0, stream>>>(work);
      break;
    case CudaType::kHalf:
      apply<__half><<<blocks, kThreads, 0, stream>>>(work);
      break;
    case CudaType::kBf16:
      apply<__nv_bfloat16><<<blocks, kThreads, 0, stream>>>(work);
      break;
  }
  return cudaGetLastError();
}

}  // namespace qdqbert::nn
