// The mean of several trainings of one model.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "qdqbert/base/dtype.h"
#include "qdqbert/io/checkpoint.h"

namespace qdqbert::io {

struct OwnedNamedTensor {
  std::string name;
  OwnedTensor tensor;
};

/// Tensor by tensor the mean of at least two checkpoints, as float32, in the order of the first; sums in
/// float64. Ranges (`*._amax`) are averaged as well. The mean of trainings that descend from one checkpoint
/// can score better than each (Wortsman et al., Model soups, 2022); that of others is of no use. Integers
/// stay as they are. Throws InputError naming the checkpoint and the tensor when one is missing, surplus, of
/// another shape, another kind of type, or holds other integers.
std::vector<OwnedNamedTensor> average(std::span<const Checkpoint> checkpoints);

}  // namespace qdqbert::io
