// How quantization.json writes the range of one quantizer.
#pragma once

#include <span>

#include "qdqbert/base/json.h"

namespace qdqbert::io {

/// `amax` of one value is that number; one of several channels, `{"min": ..., "max": ..., "count": ...}`. The
/// values themselves are in the checkpoint. At least one value.
Json range_json(std::span<const float> amax);

}  // namespace qdqbert::io
