// Dropout whose random numbers are counted, not drawn: which elements are dropped depends on a seed, the step
// and how many masks the step has asked for before, never on threads or timing.
#pragma once

#include <cstdint>

#include <ATen/ATen.h>

namespace qdqbert::nn {

/// Where this thread's next mask comes from.
struct DropoutPosition {
  bool counted = false;  ///< false: each mask takes its key from LibTorch's CPU generator (at::manual_seed)
  uint64_t seed = 0, micro_step = 0;
  uint32_t call = 0;  ///< masks of this step so far
};

/// Starts a forward pass of this thread: the masks that follow are a function of `seed`, `micro_step` (count
/// every forward pass of a run, those of accumulated batches too) and their number.
void begin_dropout(uint64_t seed, uint64_t micro_step);

/// For repeating a part of a forward pass with the same masks.
DropoutPosition dropout_position();
void set_dropout_position(const DropoutPosition& position);

/// One bit an element, in the layout of kernels/rows.h.
struct DropoutMask {
  at::Tensor words;  ///< int64, one more than needed
  float scale = 1;   ///< of what is kept: 1 / (1 - p)

  const uint64_t* data() const { return reinterpret_cast<const uint64_t*>(words.data_ptr<int64_t>()); }
};

/// The next mask: elements are kept with probability 1 - p, to 32 bits. Philox4x32-10, see kernels/rows.h.
/// Throws InputError for p outside [0, 1] and for more than 2^34 elements.
DropoutMask next_dropout_mask(int64_t elements, double p);

/// x with elements zeroed with probability p, the others multiplied by 1 / (1 - p); differentiable.
/// Elements count in contiguous order. Only the bits are kept for the backward pass.
/// p = 0 gives x itself and counts as no mask.
at::Tensor dropout(const at::Tensor& x, double p);

}  // namespace qdqbert::nn
