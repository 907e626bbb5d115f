#include <algorithm>

#include "qdqbert/train/adamw_cuda.h"

namespace qdqbert::train {
namespace {

constexpr int kThreads = 256;
// Blocks beyond what fills every GPU of today; further elements are taken in turn.
constexpr size_t kMostBlocks = 8192;

__global__ void update(CudaAdam work) {
  if (work.decided[3] == 0) return;
  AdamCoefficients c = work.coefficients;
  c.gradient = work.decided[0];
  c.step = work.decided[1];
  c.root = work.decided[2];
  const size_t stride = static_cast<size_t>(gridDim.x) * kThreads;
  for (size_t i = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x; i < work.count; i += stride) {
    float p = work.p[i], m = work.m[i], v = work.v[i];
    if (work.library) {
      adam_element_library(c, work.g[i], &p, &m, &v);
    } else {
      adam_element_torch(c, work.g[i], &p, &m, &v);
    }
    work.p[i] = p;
    work.m[i] = m;
    work.v[i] = v;
  }
}

}  // namespace

int adam_cuda(const CudaAdam& work, CUstream_st* stream) {
  if (work.count == 0) return cudaSuccess;
  const size_t blocks = std::min(kMostBlocks, (work.count + kThreads - 1) / kThreads);
  update<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(work);
  return cudaGetLastError();
}

}  // namespace qdqbert::train
