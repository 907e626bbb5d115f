// The weights of a golden export case, wherever the case keeps them.
#pragma once

#include <filesystem>
#include <string>

#include "qdqbert/base/json.h"
#include "qdqbert/io/safetensors.h"
#include "qdqbert/io/tensor_set.h"
#include "qdqbert/onnx/model.h"

namespace qdqbert::testing {

/// weights.safetensors of the case or of the case it refers to ("those of NAME"), else the initializers of
/// its model.onnx under their state-dict names (folded matrices transposed back).
io::TensorSet golden_weights(const std::filesystem::path& directory, const Json& description);

}  // namespace qdqbert::testing
