#include <algorithm>

#include "qdqbert/nn/kernels/fake_quant_cuda.h"

namespace qdqbert::nn {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
// 16 bytes a thread: the widest access there is, and this work is nothing but memory traffic.
constexpr size_t kEach = 4;
// Blocks beyond what fills every GPU of today; further elements are taken in turn.
constexpr size_t kMostBlocks = 4096;

unsigned blocks_for(size_t count) {
  const size_t chunk = kThreads * kEach;
  return static_cast<unsigned>(std::min(kMostBlocks, (count + chunk - 1) / chunk));
}

bool is_aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % (kEach * sizeof(float)) == 0;
}

/// One block. The toolkit decides about tiny ranges by the least of all channels, NaN if one is NaN.
__global__ void prepare_scales(const float* amax, size_t channels, float bound, ElementScale* scales) {
  __shared__ float least[kThreads];
  float mine = INFINITY;
  for (size_t c = threadIdx.x; c < channels; c += kThreads) {
    const float value = amax[c];
    mine =
        isnan(value) || value < mine ? value : mine;  // once NaN, no comparison replaces it but another NaN
  }
  least[threadIdx.x] = mine;
  __syncthreads();
  for (int step = kThreads / 2; step > 0; step /= 2) {
    if (threadIdx.x < step) {
      const float a = least[threadIdx.x], b = least[threadIdx.x + step];
      least[threadIdx.x] = isnan(b) || b < a ? b : a;
    }
    __syncthreads();
  }
  for (size_t c = threadIdx.x; c < channels; c += kThreads)
    scales[c] = element_scale(amax[c], least[0], bound);
}

struct Four {
  float value[kEach];
};

template <bool kAligned>
__device__ Four load(const float* from, size_t at, size_t count) {
  Four four = {};
  if (kAligned && at + kEach <= count) {
    const float4 v = *reinterpret_cast<const float4*>(from + at);
    return {{v.x, v.y, v.z, v.w}};
  }
  for (size_t j = 0; j < kEach; ++j)
    if (at + j < count) four.value[j] = from[at + j];
  return four;
}

template <bool kAligned>
__device__ void store(float* to, size_t at, size_t count, const Four& four) {
  if (kAligned && at + kEach <= count) {
    *reinterpret_cast<float4*>(to + at) = {four.value[0], four.value[1], four.value[2], four.value[3]};
    return;
  }
  for (size_t j = 0; j < kEach; ++j)
    if (at + j < count) to[at + j] = four.value[j];
}

// A word of the mask belongs to eight lanes of four elements.
constexpr unsigned kAll = 0xffffffffu;
constexpr int kLanesOfWord = 8;

template <bool kAligned, bool kPerChannel>
__global__ void forward(CudaFakeQuant work, const ElementScale* scales) {
  const size_t stride = static_cast<size_t>(gridDim.x) * kThreads * kEach;
  const size_t first = (static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x) * kEach;
  const int lane = threadIdx.x % kWarp;
  // Whole warps stay together to the end of their last word, also where their own elements have run out.
  for (size_t at = first; at - lane * kEach < work.count; at += stride) {
    Four four = load<kAligned>(work.x, at, work.count);
    unsigned bits = 0;
    for (size_t j = 0; j < kEach; ++j) {
      const size_t c = kPerChannel && at + j < work.count ? (at + j) / work.inner % work.channels : 0;
      if (at + j < work.count && passes_element(four.value[j], work.amax[c])) bits |= 1u << j;
      four.value[j] = fake_quant_element(four.value[j], scales[c], work.bounds);
    }
    store<kAligned>(work.y, at, work.count, four);
    if (work.mask == nullptr) continue;
    bits <<= lane % kLanesOfWord * kEach;
    for (int step = 1; step < kLanesOfWord; step *= 2) bits |= __shfl_xor_sync(kAll, bits, step);
    if (lane % kLanesOfWord == 0) work.mask[at / kWarp] = bits;
  }
}

template <bool kAligned>
__global__ void backward(const float* to_y, const uint32_t* mask, size_t count, float* to_x) {
  const size_t stride = static_cast<size_t>(gridDim.x) * kThreads * kEach;
  const size_t first = (static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x) * kEach;
  for (size_t at = first; at < count; at += stride) {
    Four four = load<kAligned>(to_y, at, count);
    const unsigned bits = mask[at / kWarp] >> at % kWarp;
    for (size_t j = 0; j < kEach; ++j) four.value[j] = bits >> j & 1 ? four.value[j] : 0.0f;
    store<kAligned>(to_x, at, count, four);
  }
}

}  // namespace

int fake_quant_cuda(const CudaFakeQuant& work, CUstream_st* stream) {
  if (work.count == 0) return cudaSuccess;
  auto* scales = reinterpret_cast<ElementScale*>(work.scratch);
  prepare_scales<<<1, kThreads, 0, stream>>>(work.amax, work.channels, work.bounds.upper, scales);
  const unsigned blocks = blocks_for(work.count);
  const bool aligned = is_aligned(work.x) && is_aligned(work.y), per_channel = work.channels > 1;
  if (aligned && per_channel) forward<true, true><<<blocks, kThreads, 0, stream>>>(work, scales);
  if (aligned && !per_channel) forward<true, false><<<blocks, kThreads, 0, stream>>>(work, scales);
  if (!aligned && per_channel) forward<false, true><<<blocks, kThreads, 0, stream>>>(work, scales);
  if (!aligned && !per_channel) forward<false, false><<<blocks, kThreads, 0, stream>>>(work, scales);
  return cudaGetLastError();
}

int pass_marked_cuda(const float* to_y, const uint32_t* mask, size_t count, float* to_x,
                     CUstream_st* stream) {
  if (count == 0) return cudaSuccess;
  const unsigned blocks = blocks_for(count);
  if (is_aligned(to_y) && is_aligned(to_x)) {
    backward<true><<<blocks, kThreads, 0, stream>>>(to_y, mask, count, to_x);
  } else {
    backward<false><<<blocks, kThreads, 0, stream>>>(to_y, mask, count, to_x);
  }
  return cudaGetLastError();
}

const char* cuda_error_text(int error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}

}  // namespace qdqbert::nn
